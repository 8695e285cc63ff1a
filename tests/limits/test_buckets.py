"""Buckets allow a burst, then the rate, and never more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_server.http.too_many_requests import whole_seconds
from registry_server.limits.buckets import Buckets
from tests.limits.clock import Clock

_RATES = st.integers(1, 1_000_000)
_BURSTS = st.integers(1, 1000)
# Nanoseconds between two requests.
_PAUSES = st.lists(st.one_of(st.just(0), st.integers(0, 2 * 10**9)), max_size=200)


def _takes(buckets: Buckets, key: str = "a") -> bool:
    if buckets.wait(key):
        return False
    buckets.take(key)
    return True


@given(_RATES, _BURSTS, _PAUSES)
def test_no_interval_has_more_requests_than_burst_and_rate(
    rate: int, burst: int, pauses: list[int]
) -> None:
    """Between any two requests, at any times."""
    clock = Clock()
    buckets = Buckets(rate, burst, clock=clock)
    taken = []
    for pause in pauses:
        clock.now += pause
        if _takes(buckets):
            taken.append(clock.now)
    for first, since in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - since) * rate / 10**9


@given(_RATES, _BURSTS)
def test_a_full_burst_is_allowed(rate: int, burst: int) -> None:
    """From the first moment, and again after a long enough pause."""
    clock = Clock()
    buckets = Buckets(rate, burst, clock=clock)
    for _ in range(2):
        assert all(_takes(buckets) for _ in range(burst))
        assert not _takes(buckets)
        clock.sleep(burst / rate + 1)


@given(_RATES, _BURSTS, _PAUSES)
def test_a_client_that_waits_as_told_is_allowed(rate: int, burst: int, pauses: list[int]) -> None:
    """In nanoseconds, and in the whole seconds of Retry-After."""
    clock = Clock()
    buckets = Buckets(rate, burst, clock=clock)
    for pause in pauses:
        clock.now += pause
        wait = buckets.wait("a")
        if wait:
            clock.now += wait if pause % 2 else whole_seconds(wait) * 10**9
        assert _takes(buckets)


def test_each_key_has_a_bucket_of_its_own() -> None:
    """What one takes does not affect another."""
    buckets = Buckets(1, 1, clock=Clock())
    assert _takes(buckets, "a")
    assert _takes(buckets, "b")
    assert not _takes(buckets, "a")


def test_the_number_of_buckets_is_limited() -> None:
    """Those that were used last are kept; reading a bucket does not use it."""
    buckets = Buckets(1, 1, most=3, clock=Clock())
    for key in ("a", "b", "c", "d"):
        assert _takes(buckets, key)
    assert [key for key in ("a", "b", "c", "d") if buckets.wait(key)] == ["b", "c", "d"]
    assert len(buckets._full_at) == 3
