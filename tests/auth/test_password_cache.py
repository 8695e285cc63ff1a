"""The cache of correct passwords."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.users.password_cache import PasswordCache

HASH = b"$2b$04$hash"


class Checker:
    """Answers with a given result once it is released; counts its calls and cancellations."""

    def __init__(self, answer: bool = True, *, held: bool = False) -> None:
        self.answer = answer
        self.calls = self.cancelled = 0
        self.go = asyncio.Event()
        if not held:
            self.go.set()

    async def __call__(self) -> bool:
        """Return the result."""
        self.calls += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answer


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def turns() -> None:
    """Run all tasks that are ready."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_right_password_is_checked_once() -> None:
    """The second check is cached until its time is over, however often the password is used."""
    clock, check = Clock(), Checker()
    cache = PasswordCache(60.0, clock=clock)
    for _ in range(3):
        assert await cache.verified("ann", b"secret", HASH, check)
        clock.now += 19.9
    assert check.calls == 1
    clock.now += 0.4
    assert await cache.verified("ann", b"secret", HASH, check)
    assert check.calls == 2


async def test_a_wrong_password_is_checked_each_time() -> None:
    """It is not cached, and does not displace the right one of the same name."""
    cache, right, wrong = PasswordCache(), Checker(), Checker(answer=False)
    assert await cache.verified("ann", b"secret", HASH, right)
    for _ in range(3):
        assert not await cache.verified("ann", b"guess", HASH, wrong)
    assert wrong.calls == 3
    assert await cache.verified("ann", b"secret", HASH, right)
    assert right.calls == 1


async def test_another_hash_needs_another_check() -> None:
    """A password that matched the previous hash of the file is checked again."""
    cache, right, wrong = PasswordCache(), Checker(), Checker(answer=False)
    assert await cache.verified("ann", b"secret", HASH, right)
    assert not await cache.verified("ann", b"secret", HASH + b"2", wrong)
    assert wrong.calls == 1


@given(st.text(max_size=5), st.binary(max_size=5), st.text(max_size=5), st.binary(max_size=5))
def test_entries_differ_for_different_parts(
    name: str, password: bytes, other: str, another: bytes
) -> None:
    """Bytes moved from the name to the password, or to the hash, make another entry."""

    async def ask() -> None:
        cache, wrong = PasswordCache(), Checker(answer=False)
        assert await cache.verified(name, password, HASH, Checker())
        known = await cache.verified(other, another, HASH, wrong)
        assert known == ((name, password) == (other, another))
        shifted = await cache.verified(name, password + HASH[:1], HASH[1:], wrong)
        assert not shifted

    asyncio.run(ask())


async def test_the_cache_is_bounded() -> None:
    """The names that were used last stay."""
    cache, check = PasswordCache(most=2), Checker()
    for name in ("ann", "bob", "ann", "eve"):
        await cache.verified(name, b"secret", HASH, check)
    assert check.calls == 3
    await cache.verified("ann", b"secret", HASH, check)
    assert check.calls == 3
    await cache.verified("bob", b"secret", HASH, check)
    assert check.calls == 4


async def test_the_cache_holds_no_password() -> None:
    """Neither the password nor the hash is anywhere in it."""
    cache = PasswordCache()
    await cache.verified("ann", b"correct-horse", HASH, Checker())
    kept = repr(vars(cache))
    assert "ann" in kept
    assert "correct-horse" not in kept
    assert HASH.decode() not in kept


async def test_two_processes_have_different_keys() -> None:
    """Each has a key of its own."""
    kept = []
    for _ in range(2):
        cache = PasswordCache()
        await cache.verified("ann", b"secret", HASH, Checker())
        kept.append(cache._checked["ann"][0])
    assert kept[0] != kept[1]


async def test_concurrent_calls_share_one_check() -> None:
    """All get its result, right or wrong."""
    for answer in (True, False):
        cache, check = PasswordCache(), Checker(answer, held=True)
        asked = [
            asyncio.create_task(cache.verified("ann", b"secret", HASH, check)) for _ in range(20)
        ]
        await turns()
        check.go.set()
        assert await asyncio.gather(*asked) == [answer] * 20
        assert check.calls == 1
        assert not cache._flights


async def test_a_cancelled_caller_does_not_cancel_the_check() -> None:
    """The first of three is cancelled; the check continues for the others."""
    cache, check = PasswordCache(), Checker(held=True)
    asked = [asyncio.create_task(cache.verified("ann", b"s", HASH, check)) for _ in range(3)]
    await turns()
    asked[0].cancel()
    await turns()
    check.go.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [True, True]
    assert (check.calls, check.cancelled) == (1, 0)


async def test_cancelling_the_last_caller_cancels_the_check() -> None:
    """The next call starts a new one."""
    cache, check = PasswordCache(), Checker(held=True)
    asked = [asyncio.create_task(cache.verified("ann", b"s", HASH, check)) for _ in range(2)]
    await turns()
    for one in asked:
        one.cancel()
    later = asyncio.create_task(cache.verified("ann", b"s", HASH, check))
    await turns()
    check.go.set()
    assert await later
    assert not cache._flights
    assert (check.calls, check.cancelled) in {(2, 1), (1, 0)}


async def test_a_failed_check_fails_for_all_and_is_not_cached() -> None:
    """Each waiting caller gets the error; the next check is a new one."""

    def failing() -> Callable[[], Awaitable[bool]]:
        async def fail() -> bool:
            await asyncio.sleep(0)
            raise RuntimeError("broken")

        return fail

    cache = PasswordCache()
    asked = [cache.verified("ann", b"s", HASH, failing()) for _ in range(2)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [RuntimeError, RuntimeError]
    assert await cache.verified("ann", b"s", HASH, Checker())
    del answers
    gc.collect()


@pytest.mark.parametrize("name", ["", "\N{SNOWMAN}", "a" * 8192])
async def test_any_name_is_accepted(name: str) -> None:
    """Names are not validated here."""
    cache, check = PasswordCache(), Checker()
    assert await cache.verified(name, b"", b"", check)
    assert await cache.verified(name, b"", b"", check)
    assert check.calls == 1
