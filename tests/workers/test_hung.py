"""Hung workers: they are replaced, and the supervisor does not wait for them when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.live.full_pipes import fill_log, wait_until_it_blocks
from tests.live.programs import environment
from tests.live.transfers import until
from tests.support.processes import family
from tests.workers.test_reloads import alive, hear
from tests.workers.test_supervisor import serving, supervised

pytestmark = pytest.mark.live

QUICK = {"HUNG_SECONDS": "1.2", "MARGIN_SECONDS": "0.5", "LAST_SECONDS": "1"}
ENDLESS = {"HUNG_SECONDS": "60", "MARGIN_SECONDS": "3600", "HURRY_SECONDS": "3600"}
HASTY = {**ENDLESS, "HURRY_SECONDS": "0"}

# Traces the process with the given id until its standard input ends (PTRACE_SEIZE).
DEBUGGER = """
import ctypes, sys
print(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def freezer() -> Iterator[Path]:
    """Give a control group in which a process cannot even be killed while it is frozen."""
    made = Path(f"/sys/fs/cgroup/freezer/registry-test-{os.getpid()}")
    try:
        made.mkdir()
    except OSError:
        pytest.skip("no group of the freezer can be made here")
    yield made
    (made / "freezer.state").write_text("THAWED")
    until(lambda: not (made / "cgroup.procs").read_text(), "the frozen process ended")
    made.rmdir()


def test_a_stopped_worker_does_not_keep_the_supervisor(tmp_path: Path) -> None:
    """After its drain and a margin it is killed; the exit code is 1."""
    with supervised("fragile", tmp_path, QUICK | {"HUNG_SECONDS": "60"}) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        stopped, other = serving(tmp_path)
        os.kill(stopped, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        hear(process, f"worker {stopped} timed out while it drained: sending SIGKILL")
        assert process.wait(20) == 1
    assert (tmp_path / f"drained-{other}").exists()


@pytest.mark.parametrize(("env", "interrupts"), [(HASTY, 2), (ENDLESS, 3)])
def test_interrupts_end_a_supervisor_with_a_stopped_worker(
    tmp_path: Path, env: dict[str, str], interrupts: int
) -> None:
    """The second SIGINT leaves a few seconds, the third none."""
    with supervised("fragile", tmp_path, env) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        stopped, _ = serving(tmp_path)
        os.kill(stopped, signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        until((tmp_path / "told-stopping-SIGINT").exists, "it drains")
        for _ in range(interrupts - 1):
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)  # two signals at once are one
        assert process.wait(20) == 1


def test_a_process_that_cannot_be_killed_is_not_waited_for(tmp_path: Path, freezer: Path) -> None:
    """As when it waits for a disk: the supervisor says so and ends."""
    with supervised("fragile", tmp_path, QUICK | {"HUNG_SECONDS": "60"}) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        frozen, _ = serving(tmp_path)
        (freezer / "cgroup.procs").write_text(str(frozen))
        (freezer / "freezer.state").write_text("FROZEN")
        process.send_signal(signal.SIGTERM)
        hear(process, "sending SIGKILL")
        assert process.wait(20) == 1
        assert psutil.pid_exists(frozen)
        (freezer / "freezer.state").write_text("THAWED")
        assert process.stdout is not None
        assert f"SIGKILL did not end worker {frozen}" in process.stdout.read()


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_worker_without_a_pulse_is_replaced(tmp_path: Path, *, is_stopped: bool) -> None:
    """Whether it is stopped or its event loop hangs; the other keeps serving."""
    with supervised("fragile", tmp_path, QUICK) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        hung, other = serving(tmp_path)
        if is_stopped:
            os.kill(hung, signal.SIGSTOP)
        else:
            (tmp_path / f"silent-{hung}").touch()
        hear(process, f"worker {hung} has not responded for 1.2s: sending SIGKILL")
        hear(process, f"worker {hung} ended: killed by SIGKILL")
        until(lambda: len(serving(tmp_path)) == 3, "it was replaced")
        assert alive(process) == serving(tmp_path) - {hung}
        assert other in alive(process)
        process.terminate()
        assert process.wait(20) == 0


def test_no_worker_is_killed_after_a_stop_of_all(tmp_path: Path) -> None:
    """The time in which the supervisor itself was stopped counts for no worker."""
    with supervised("fragile", tmp_path, QUICK | {"HUNG_SECONDS": "2"}) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        before = alive(process)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(3)
            os.killpg(process.pid, signal.SIGCONT)
            time.sleep(0.5)
        assert alive(process) == before
        process.terminate()
        assert process.wait(20) == 0


def test_a_worker_in_a_debugger_is_left_alone(tmp_path: Path) -> None:
    """A debugger stops a process on purpose."""
    with supervised("fragile", tmp_path, QUICK) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        silent, other = serving(tmp_path)
        with subprocess.Popen(
            [sys.executable, "-c", DEBUGGER, str(silent)],
            env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as debugger:  # fmt: skip
            assert debugger.stdout is not None
            if debugger.stdout.readline() != b"0\n":
                pytest.skip("no process may be traced here")
            (tmp_path / f"silent-{silent}").touch()
            (tmp_path / f"silent-{other}").touch()
            hear(process, f"worker {other} ended: killed by SIGKILL")
            time.sleep(0.5)
            assert silent in alive(process)
            debugger.communicate(timeout=20)
        hear(process, f"worker {silent} ended: killed by SIGKILL")


def test_the_end_does_not_wait_for_a_reload_that_hangs(tmp_path: Path) -> None:
    """SIGTERM is obeyed while a child process reads the configuration."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        (tmp_path / "hanging").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(family(process.pid)) == 4, "a child process reads")
        process.terminate()
        assert process.wait(20) == 0
        until(lambda: not family(process.pid), "no process is left")


def test_a_worker_that_dies_during_a_reload_that_hangs_is_replaced(tmp_path: Path) -> None:
    """The supervisor does not wait for what a child process reads."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        (tmp_path / "hanging").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(family(process.pid)) == 4, "a child process reads")
        os.kill(serving(tmp_path).pop(), signal.SIGKILL)
        until(lambda: len(serving(tmp_path)) == 3, "it was replaced")
        (tmp_path / "hanging").unlink()
        until(lambda: len(serving(tmp_path)) == 5, "then all are")


def test_a_log_that_is_not_read_does_not_keep_the_supervisor(tmp_path: Path) -> None:
    """It blocks in a line of its log: at SIGTERM it ends in time, and so do the workers."""
    with supervised("fragile", tmp_path, ENDLESS | {"WATCHDOG_SECONDS": "1"}) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        os.kill(serving(tmp_path).pop(), signal.SIGSTOP)
        fill_log(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until_it_blocks(process.pid)
        process.terminate()
        assert process.wait(30) == 1
        until(lambda: not family(process.pid), "no process is left")


def test_a_supervisor_that_was_stopped_continues_its_drain(tmp_path: Path) -> None:
    """The time in which it was stopped is no reason to end at once: the worker gets its own."""
    env = QUICK | {"HUNG_SECONDS": "60", "MARGIN_SECONDS": "1", "WATCHDOG_SECONDS": "3"}
    with supervised("fragile", tmp_path, env) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        stopped = serving(tmp_path).pop()
        os.kill(stopped, signal.SIGSTOP)
        process.terminate()
        until((tmp_path / "told-stopping-SIGTERM").exists, "it drains")
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.kill(process.pid, signal.SIGCONT)
        hear(process, f"worker {stopped} timed out while it drained: sending SIGKILL")
        assert process.wait(20) == 1
