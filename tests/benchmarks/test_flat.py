"""The memory that is reported: the most any process grew, at any moment."""

from pathlib import Path

import pytest

from benchmarks.flat import Peak, fitted
from benchmarks.material import PIECE_BYTES
from benchmarks.proc import Held
from benchmarks.stage import MB, Plan


def test_growth_is_that_of_the_process_that_grew_most_not_of_the_largest() -> None:
    peak = Peak()
    peak.add({1: Held(100 * MB, 50 * MB), 2: Held(60 * MB, 20 * MB)})
    peak.add({1: Held(101 * MB, 51 * MB), 2: Held(90 * MB, 25 * MB)})
    peak.add({1: Held(100 * MB, 50 * MB), 2: Held(55 * MB, 30 * MB)})
    idle = {1: Held(100 * MB, 50 * MB), 2: Held(60 * MB, 20 * MB)}
    assert peak.above(idle) == (30, 10)


def test_a_process_started_after_the_idle_measurement_counts_in_full() -> None:
    peak = Peak()
    peak.add({1: Held(100 * MB, 50 * MB)})
    peak.add({1: Held(100 * MB, 50 * MB), 3: Held(40 * MB, 20 * MB)})
    assert peak.above({1: Held(100 * MB, 50 * MB)}) == (40, 20)


@pytest.mark.parametrize(
    ("free", "expected"),
    [(10**15, Plan().flat_bytes), (1800 * MB, 80 * MB), (0, PIECE_BYTES)],
)
def test_the_load_shrinks_to_the_free_space(
    free: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        """What the filesystem says."""

        def __init__(self, _folder: Path) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", Usage)
    assert fitted(Plan(), tmp_path).flat_bytes == expected
