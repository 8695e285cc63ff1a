"""Wrong passwords are counted, and above the limit no password is looked at any more."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Scope

from registry_server.limits import LoginLimits, TooManyRequests
from tests.limits.clock import Clock

ADDRESS, OTHER = "192.0.2.7", "198.51.100.1"


class Passwords:
    """Checks passwords, as soon as it is free to, and counts how many."""

    def __init__(self, *, free: bool = True) -> None:
        self.free = asyncio.Event()
        self.checked = self.running = self.most = 0
        if free:
            self.free.set()

    async def right(self) -> str | None:
        """Check a right one."""
        await self._check()
        return "ann"

    async def wrong(self) -> str | None:
        """Check a wrong one."""
        await self._check()
        return None

    async def _check(self) -> None:
        self.checked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        await self.free.wait()
        await asyncio.sleep(0)
        self.running -= 1


def _from(address: str | None) -> Scope:
    return {"type": "http", "client": address and (address, 1), "headers": []}


async def test_after_so_many_wrong_ones_none_is_looked_at() -> None:
    """Right ones neither, until the oldest wrong one is older than the window; others may."""
    clock, passwords = Clock(), Passwords()
    limits = LoginLimits(3, 60, clock=clock)
    for _ in range(3):
        assert await limits.attempt(_from(ADDRESS), passwords.wrong) is None
        clock.sleep(10)
    with pytest.raises(TooManyRequests) as refusal:
        await limits.attempt(_from(ADDRESS), passwords.right)
    assert refusal.value.retry_after == 30
    assert passwords.checked == 3
    assert await limits.attempt(_from(OTHER), passwords.right) == "ann"
    clock.sleep(29.5)
    with pytest.raises(TooManyRequests) as refusal:
        limits.check(ADDRESS)
    assert refusal.value.retry_after == 1
    clock.sleep(0.5)
    assert await limits.attempt(_from(ADDRESS), passwords.right) == "ann"
    assert await limits.attempt(_from(ADDRESS), passwords.wrong) is None
    with pytest.raises(TooManyRequests):
        limits.check(ADDRESS)


async def test_a_right_one_forgives_no_wrong_one() -> None:
    """Who has an account can't guess on at another's."""
    passwords = Passwords()
    limits = LoginLimits(2, clock=Clock())
    for _ in range(2):
        await limits.attempt(_from(ADDRESS), passwords.right)
        await limits.attempt(_from(ADDRESS), passwords.wrong)
    with pytest.raises(TooManyRequests):
        await limits.attempt(_from(ADDRESS), passwords.right)


async def test_right_ones_are_never_too_many() -> None:
    """However many come at once, and nothing is kept of them."""
    passwords = Passwords(free=False)
    limits = LoginLimits(1, clock=Clock())
    tries = [limits.attempt(_from(ADDRESS), passwords.right) for _ in range(50)]
    passwords.free.set()
    assert await asyncio.gather(*tries) == ["ann"] * 50
    assert not limits._failures
    assert not limits._gates._gates


async def test_showing_many_at_once_has_no_more_looked_at() -> None:
    """Those that wait for their turn are refused when it comes."""
    passwords = Passwords(free=False)
    limits = LoginLimits(20, clock=Clock())
    tries = [
        asyncio.create_task(limits.attempt(_from(ADDRESS), passwords.wrong)) for _ in range(500)
    ]
    await asyncio.sleep(0)
    passwords.free.set()
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert found.count(None) == passwords.checked <= 23
    assert sum(isinstance(each, TooManyRequests) for each in found) == 500 - passwords.checked
    assert passwords.most == 4
    assert not limits._gates._gates


async def test_whoever_leaves_while_waiting_is_in_nobodys_way() -> None:
    """Neither counted nor remembered."""
    passwords = Passwords(free=False)
    limits = LoginLimits(1, clock=Clock())
    tries = [asyncio.create_task(limits.attempt(_from(ADDRESS), passwords.wrong)) for _ in range(9)]
    await asyncio.sleep(0)
    for each in tries:
        each.cancel()
    await asyncio.wait(tries)
    passwords.free.set()
    assert await limits.attempt(_from(ADDRESS), passwords.right) == "ann"
    assert not limits._gates._gates


async def test_what_fails_is_no_wrong_password() -> None:
    """A file that can't be read, say."""

    async def breaks() -> str | None:
        raise OSError

    limits = LoginLimits(1, clock=Clock())
    with pytest.raises(OSError):
        await limits.attempt(_from(ADDRESS), breaks)
    limits.check(ADDRESS)


@pytest.mark.parametrize(("failures", "address"), [(0, ADDRESS), (1, None)])
async def test_without_a_limit_or_an_address_nobody_is_refused(
    failures: int, address: str | None
) -> None:
    """As on a unix socket, where all would be."""
    passwords = Passwords()
    limits = LoginLimits(failures, clock=Clock())
    for _ in range(5):
        assert await limits.attempt(_from(address), passwords.wrong) is None
    assert await limits.attempt(_from(address), passwords.right) == "ann"


def test_a_network_of_ipv6_is_one() -> None:
    """Whoever has one address of it has them all."""
    limits = LoginLimits(2, clock=Clock())
    limits.failed("2001:db8::1")
    limits.failed("2001:db8::2")
    with pytest.raises(TooManyRequests):
        limits.check("2001:db8::3")
    limits.check("2001:db8:0:1::1")


def test_no_more_addresses_are_kept_than_the_limit() -> None:
    """Those that failed last are; and no more failures of each than are counted."""
    limits = LoginLimits(1, most=3, clock=Clock())
    addresses = [f"192.0.2.{number}" for number in range(10)]
    for address in addresses:
        for _ in range(100):
            limits.failed(address)
    for address in addresses[:7]:
        limits.check(address)
    for address in addresses[7:]:
        with pytest.raises(TooManyRequests):
            limits.check(address)
    assert [len(times) for times in limits._failures.values()] == [1] * 3


async def test_the_log_says_once_who_has_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    """And again the next time."""
    clock, passwords = Clock(), Passwords()
    limits = LoginLimits(2, 60, clock=clock)
    for _ in range(2):
        for _ in range(2):
            await limits.attempt(_from(ADDRESS), passwords.wrong)
        for _ in range(5):
            with pytest.raises(TooManyRequests):
                await limits.attempt(_from(ADDRESS), passwords.wrong)
        clock.sleep(61)
    assert [ADDRESS in record.getMessage() for record in caplog.records] == [True, True]
