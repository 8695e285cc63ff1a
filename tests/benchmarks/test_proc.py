"""The reader of `/proc`, on a folder made for it and on a real process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.proc import TICKS_PER_SECOND, cpu_seconds, memory, parse_stat, tree

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
BURN = "import time\nwhile time.process_time() < 0.2: pass"
REPORT = "import sys; print('ready', flush=True); sys.stdin.read()"


def add_process(proc: Path, pid: int, parent: int, ticks: tuple[int, int, int, int]) -> None:
    """Write a process into a `/proc` of the test's own."""
    (proc / str(pid)).mkdir()
    line = f"{pid} (a) b) S {parent} 1 1 0 -1 4194560 1 2 3 4 {' '.join(map(str, ticks))} 20 0 1"
    (proc / str(pid) / "stat").write_text(line)


def test_a_command_with_spaces_and_parentheses_does_not_shift_the_fields(tmp_path: Path) -> None:
    add_process(tmp_path, 7, 3, (1, 2, 30, 40))
    found = parse_stat((tmp_path / "7" / "stat").read_text())
    assert (found.pid, found.parent) == (7, 3)
    assert found.own_seconds == pytest.approx(3 / TICKS_PER_SECOND)
    assert found.reaped_seconds == pytest.approx(70 / TICKS_PER_SECOND)


def test_a_tree_holds_descendants_of_every_generation_and_no_other_process(tmp_path: Path) -> None:
    for pid, parent in ((9, 1), (5, 9), (12, 5), (6, 1)):
        add_process(tmp_path, pid, parent, (pid, 0, 0, 0))
    (tmp_path / "meminfo").touch()
    assert [process.pid for process in tree(9, tmp_path)] == [9, 5, 12]
    assert tree(77, tmp_path) == []


def test_cpu_of_a_living_process_is_counted_more_finely_than_in_ticks() -> None:
    before, used = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - used < 0.0021:
        pass
    assert 0.002 < cpu_seconds(os.getpid()) - before < time.process_time() - used + 0.01


def test_cpu_of_a_living_descendant_is_counted() -> None:
    command = [sys.executable, "-c", BURN + "\n" + REPORT]
    before = cpu_seconds(os.getpid())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_seconds(os.getpid()) - before
        process.communicate()
    assert used >= 0.19


def test_cpu_of_a_child_that_ended_is_counted() -> None:
    before = cpu_seconds(os.getpid())
    subprocess.run([sys.executable, "-c", CHILD, BURN], check=True)
    assert cpu_seconds(os.getpid()) - before >= 0.19


def test_memory_of_a_living_process_is_read_in_bytes() -> None:
    command = [sys.executable, "-c", REPORT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = memory(process.pid)
        process.communicate()
    assert 1_000_000 < found.resident <= found.peak < 1_000_000_000
    assert 0 < found.proportional <= found.resident
