"""The default number of workers, given the limits of the cgroup."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_server.config import Overrides
from registry_server.config.load import load
from registry_server.config.worker_count import MOST_WORKERS, cores, default_workers

MIB = 1 << 20
ALL = min(cores(), MOST_WORKERS)

# The content of /proc/self/cgroup, files below the mount, and the expected numbers of workers.
V2 = "0::/\n"
DEEP = "0::/system.slice/registry.service\n"
V1 = "9:name=systemd:/docker/ab\n4:memory:/docker/ab\n3:cpu,cpuacct:/docker/ab\n"

CASES: dict[str, tuple[str, dict[str, str], int]] = {
    "no cgroup": ("", {}, ALL),
    "no limit": (V2, {"cpu.max": "max 100000\n", "memory.max": "max\n"}, ALL),
    "half a core": (V2, {"cpu.max": "50000 100000\n"}, 1),
    "one core": (V2, {"cpu.max": "100000 100000\n"}, 1),
    "one and a half": (V2, {"cpu.max": "150000 100000\n"}, min(ALL, 2)),
    "64 MiB": (V2, {"memory.max": f"{64 * MIB}\n"}, 1),
    "32 MiB": (V2, {"memory.max": f"{32 * MIB}\n"}, 1),
    "100 MiB": (V2, {"memory.max": f"{100 * MIB}\n"}, 1),
    "128 MiB": (V2, {"memory.max": f"{128 * MIB}\n"}, min(ALL, 2)),
    "256 MiB": (V2, {"memory.max": f"{256 * MIB}\n"}, ALL),
    "a service": (DEEP, {"system.slice/registry.service/memory.max": f"{64 * MIB}"}, 1),
    "a slice above": (DEEP, {"system.slice/cpu.max": "20000 100000"}, 1),
    "a path of the host": ("0::/../ab/cd\n", {"memory.max": f"{64 * MIB}"}, 1),
    "v1, quota": (
        V1,
        {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        1,
    ),
    "v1, no quota": (
        V1,
        {
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
        ALL,
    ),
    "v1, memory": (V1, {"memory/memory.limit_in_bytes": f"{64 * MIB}\n"}, 1),
    "v1, below": (V1, {"memory/docker/ab/memory.limit_in_bytes": f"{64 * MIB}\n"}, 1),
    "nonsense": (V2, {"cpu.max": "soon", "memory.max": "much"}, ALL),
    "empty": (V2, {"cpu.max": "", "memory.max": "\n"}, ALL),
}


@pytest.mark.parametrize("case", CASES)
def test_workers_by_default(tmp_path: Path, case: str) -> None:
    """One per core, at most four, and no more than quota and memory allow."""
    groups, files, expected = CASES[case]
    (tmp_path / "self").write_text(groups)
    for name, content in files.items():
        (tmp_path / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounted" / name).write_text(content)
    assert default_workers(tmp_path / "self", tmp_path / "mounted") == expected


def test_a_cgroup_with_a_name_of_any_bytes_is_accepted(tmp_path: Path) -> None:
    """Every command reads this file."""
    (tmp_path / "self").write_bytes(b"0::/\xff\n")
    assert default_workers(tmp_path / "self", tmp_path / "mounted") == ALL


def test_an_explicit_number_is_used(tmp_path: Path) -> None:
    """From the file and from the command line."""
    file = tmp_path / "config.yml"
    file.write_text("version: 0.1\nhttp: {workers: 9}\n")
    assert load(file, {}).settings.http.workers == 9
    assert load(file, {}, Overrides(workers=7)).settings.http.workers == 7
