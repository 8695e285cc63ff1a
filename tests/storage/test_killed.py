"""A process may be killed before any change of a file, and in the middle of a write.

Acknowledged content is served by the next process, nothing half-written is, and interrupted work
can be repeated with the same result. `cut_off` has the table of the work, `killing` runs it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.storage.cut_off import SCENARIOS
from tests.support.scratch import scratch_folder
from tests.support.tools import run

pytestmark = pytest.mark.faults

PROJECT = Path(__file__).resolve().parents[2]
_LONG = 300  # seconds


def _kill_everywhere(scenario: str, fault: str = "none") -> tuple[int, list[str]]:
    """Return how often the work was killed, and the faults found after that."""
    with scratch_folder() as folder:
        program = [sys.executable, "-m", "tests.storage.killing", scenario, str(folder), fault]
        report = json.loads(run(program, env={"PYTHONPATH": str(PROJECT)}, timeout=_LONG))
    return report["points"], report["faults"]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_is_lost_wherever_a_process_is_killed(scenario: str) -> None:
    """The next process keeps all promises, and the same work succeeds."""
    points, faults = _kill_everywhere(scenario)
    assert not faults, "\n".join(faults)
    assert points > SCENARIOS[scenario].fewest


@pytest.mark.parametrize(
    ("scenario", "fault"),
    [
        ("mount a blob", "promised early"),
        ("push a referrer", "links first"),
        ("push by another digest", "links first"),
        ("move a tag", "in place"),
        ("move a tag", "removed first"),
    ],
)
def test_a_wrong_registry_is_detected(scenario: str, fault: str) -> None:
    """Writes in the wrong order, in place, or after the answer are detected."""
    _, faults = _kill_everywhere(scenario, fault)
    assert faults
