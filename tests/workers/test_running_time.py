"""The time that counts for limits: that in which the process ran."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_server.serving.workers.running_time import RunningTime

STEPS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100_000)), max_size=30)


@given(STEPS)
def test_a_stop_counts_for_nothing(steps: list[tuple[float, float]]) -> None:
    """However long the process was stopped during a wait, no more passes than was to be waited."""
    clock = [0.0]
    time = RunningTime(lambda: clock[0])
    for waited, passed in steps:
        before = time.now
        clock[0] += passed
        time.advance(waited)
        counted = passed if passed <= waited + 1 else waited
        assert abs(time.now - before - counted) < 0.001
