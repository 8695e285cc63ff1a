"""What is read about the machine."""

from pathlib import Path

import pytest

from benchmarks.machine import Activity, Company, cpu_model, filesystem
from benchmarks.proc import TICKS_PER_SECOND

MOUNTS = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/disk xfs rw 0 0\n"


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/srv", "ext4"), ("/tmp", "tmpfs"), ("/tmp/disk/x", "xfs"), ("/tmpfiles", "ext4")],
)
def test_the_filesystem_is_that_of_the_nearest_mount(folder: str, expected: str) -> None:
    assert filesystem(Path(folder), MOUNTS) == expected


def test_the_processor_is_named_by_the_first_model_name() -> None:
    assert cpu_model("processor : 0\nmodel name\t: Fast: 9\nmodel name\t: Slow\n") == "Fast: 9"


def test_other_load_is_busy_time_except_our_own() -> None:
    first = Activity.of("cpu 0 0 0 0 0 0 0 0 0 0", own=1.0)
    second = Activity.of(
        "cpu " + " ".join(str(each * TICKS_PER_SECOND) for each in (20, 0, 10, 50, 5, 1, 4, 10)),
        own=26.0,
    )
    company = Company.between(first, second)
    assert company.others == pytest.approx(0.10)
    assert company.stolen == pytest.approx(0.10)
