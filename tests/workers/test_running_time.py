"""Limits count only the time in which the process ran."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_server.serving.workers.running_time import RunningTime

STEPS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100_000)), max_size=30)


@given(STEPS)
def test_time_while_stopped_does_not_count(steps: list[tuple[float, float]]) -> None:
    """A wait counts at most its own length, however long the process was stopped in it."""
    clock = [0.0]
    time = RunningTime(lambda: clock[0])
    for waited, passed in steps:
        before = time.now
        clock[0] += passed
        time.advance(waited)
        counted = passed if passed <= waited + 1 else waited
        assert abs(time.now - before - counted) < 0.001
