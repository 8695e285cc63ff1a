"""The ground before a measurement that writes."""

from pathlib import Path

import pytest

from benchmarks import ground
from benchmarks.ground import SPARE_BYTES, level


def test_the_announced_size_and_a_reserve_are_written_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "SPARE_BYTES", 3 << 20)
    sizes: list[int] = []
    unlink = Path.unlink

    def noticed(file: Path) -> None:
        sizes.append(file.stat().st_size)
        unlink(file)

    monkeypatch.setattr(Path, "unlink", noticed)
    level(tmp_path, 5 << 20)
    assert sizes == [8 << 20]
    assert list(tmp_path.iterdir()) == []
    assert SPARE_BYTES > 0
