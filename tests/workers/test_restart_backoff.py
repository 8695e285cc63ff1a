"""The pause before a worker that ended is replaced."""

from __future__ import annotations

import pytest

from registry_server.serving.workers.restart_backoff import EARLY_SECONDS, PAUSES, RestartBackoff


class Clock:
    """A clock that stands still until it is set."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_worker_that_had_served_is_replaced_immediately() -> None:
    """However often that happens."""
    restarts = RestartBackoff(Clock())
    assert restarts.pause == 0
    for _ in range(20):
        restarts.record_exit(EARLY_SECONDS)
        assert restarts.pause == 0
        assert not restarts.is_exhausted


def test_workers_that_fail_at_their_start_are_replaced_after_longer_and_longer_pauses() -> None:
    """Up to the longest pause; the supervisor gives up after all of them."""
    restarts = RestartBackoff(Clock())
    seen: list[float] = []
    for _ in range(len(PAUSES) + 1):
        assert restarts.is_exhausted == (len(seen) >= len(PAUSES))
        restarts.record_exit(0.1)
        seen.append(restarts.pause)
    assert seen == pytest.approx([*PAUSES[1:], PAUSES[-1], PAUSES[-1]])


def test_a_pause_passes() -> None:
    """The remaining time shrinks, and is never negative."""
    clock = Clock()
    restarts = RestartBackoff(clock)
    for _ in PAUSES:
        restarts.record_exit(0)
    clock.now += PAUSES[-1] / 2
    assert restarts.pause == pytest.approx(PAUSES[-1] / 2)
    clock.now += PAUSES[-1]
    assert restarts.pause == 0


def test_a_worker_that_served_resets_the_pauses() -> None:
    """The next failure counts as the first."""
    restarts = RestartBackoff(Clock())
    for _ in PAUSES:
        restarts.record_exit(0)
    restarts.record_exit(EARLY_SECONDS)
    restarts.record_exit(0)
    assert (restarts.pause, restarts.is_exhausted) == (PAUSES[1], False)
