"""Wrong passwords are counted; over the limit no password is checked."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Scope

from registry_server.limits import LoginLimits, TooManyRequests
from tests.limits.clock import Clock

ADDRESS, OTHER = "192.0.2.7", "198.51.100.1"


class Passwords:
    """Checks passwords when it is released, and counts the checks."""

    def __init__(self, *, free: bool = True) -> None:
        self.free = asyncio.Event()
        self.checked = self.running = self.most = 0
        if free:
            self.free.set()

    async def right(self) -> str | None:
        """Check a right password."""
        await self._check()
        return "ann"

    async def wrong(self) -> str | None:
        """Check a wrong password."""
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


async def test_over_the_limit_no_password_is_checked() -> None:
    """Nor a right one, until the oldest wrong one is older than the window; other clients may."""
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


async def test_a_right_password_does_not_reset_the_count() -> None:
    """The owner of an account can't keep guessing another one."""
    passwords = Passwords()
    limits = LoginLimits(2, clock=Clock())
    for _ in range(2):
        await limits.attempt(_from(ADDRESS), passwords.right)
        await limits.attempt(_from(ADDRESS), passwords.wrong)
    with pytest.raises(TooManyRequests):
        await limits.attempt(_from(ADDRESS), passwords.right)


async def test_right_passwords_are_not_limited() -> None:
    """However many concurrent ones; nothing is stored about them."""
    passwords = Passwords(free=False)
    limits = LoginLimits(1, clock=Clock())
    tries = [limits.attempt(_from(ADDRESS), passwords.right) for _ in range(50)]
    passwords.free.set()
    assert await asyncio.gather(*tries) == ["ann"] * 50
    assert not limits._failures
    assert not limits._places._places


async def test_concurrent_attempts_are_not_checked_beyond_the_limit() -> None:
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
    assert not limits._places._places


async def test_a_disconnected_client_blocks_no_other() -> None:
    """Nothing is counted or stored."""
    passwords = Passwords(free=False)
    limits = LoginLimits(1, clock=Clock())
    tries = [asyncio.create_task(limits.attempt(_from(ADDRESS), passwords.wrong)) for _ in range(9)]
    await asyncio.sleep(0)
    for each in tries:
        each.cancel()
    await asyncio.wait(tries)
    passwords.free.set()
    assert await limits.attempt(_from(ADDRESS), passwords.right) == "ann"
    assert not limits._places._places


async def test_a_failed_check_is_no_wrong_password() -> None:
    """A file that can't be read, for example."""

    async def breaks() -> str | None:
        raise OSError

    limits = LoginLimits(1, clock=Clock())
    with pytest.raises(OSError):
        await limits.attempt(_from(ADDRESS), breaks)
    limits.check(ADDRESS)


@pytest.mark.parametrize(("failures", "address"), [(0, ADDRESS), (1, None)])
async def test_without_a_limit_or_an_address_nothing_is_refused(
    failures: int, address: str | None
) -> None:
    """Clients of a unix socket would all be counted as one."""
    passwords = Passwords()
    limits = LoginLimits(failures, clock=Clock())
    for _ in range(5):
        assert await limits.attempt(_from(address), passwords.wrong) is None
    assert await limits.attempt(_from(address), passwords.right) == "ann"


def test_an_ipv6_network_is_one_client() -> None:
    """A client with one address of it can use all of them."""
    limits = LoginLimits(2, clock=Clock())
    limits.count_failure("2001:db8::1")
    limits.count_failure("2001:db8::2")
    with pytest.raises(TooManyRequests):
        limits.check("2001:db8::3")
    limits.check("2001:db8:0:1::1")


def test_the_number_of_addresses_is_limited() -> None:
    """Those that failed last are kept, each with no more failures than are counted."""
    limits = LoginLimits(1, most=3, clock=Clock())
    addresses = [f"192.0.2.{number}" for number in range(10)]
    for address in addresses:
        for _ in range(100):
            limits.count_failure(address)
    for address in addresses[:7]:
        limits.check(address)
    for address in addresses[7:]:
        with pytest.raises(TooManyRequests):
            limits.check(address)
    assert [len(times) for times in limits._failures.values()] == [1] * 3


async def test_the_limit_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
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
