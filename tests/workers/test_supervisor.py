"""The supervisor with minimal workers: when they may serve, and when it gives up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.live.programs import environment
from tests.live.transfers import until
from tests.support.processes import family, kill_all

pytestmark = pytest.mark.live


@contextmanager
def supervised(
    how: str, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run `supervised.py` in a folder; no process of it outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workers.supervised", how],
        cwd=folder,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers: list[psutil.Process] = []
    try:
        yield process
        workers = family(process.pid)[1:]
        process.terminate()
        process.communicate(timeout=20)
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert not alive
    finally:
        kill_all([*workers, *family(process.pid)])
        process.communicate()


def serving(folder: Path) -> set[int]:
    """Return the ids of the workers that were told to serve."""
    return {int(one.name.rpartition("-")[2]) for one in folder.glob("serving-*")}


def test_no_worker_begins_before_all_are_ready(tmp_path: Path) -> None:
    """The worker that is ready first serves only when the other is ready too."""
    with supervised("uneven", tmp_path):
        until(lambda: (tmp_path / "second").exists(), "the second was ready")
        until(lambda: list(tmp_path.glob("[et]*")), "the first may serve")
    assert (tmp_path / "together").exists()


@pytest.mark.parametrize("how", ["broken", "half"])
def test_workers_that_cannot_start_end_the_server(tmp_path: Path, how: str) -> None:
    """At the start one failure is enough; the reason is logged, and the others end."""
    with supervised(how, tmp_path) as process:
        out, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "exit code 3" in out
    assert "exit code 3" in err
    assert "Traceback" not in err
    assert not serving(tmp_path)


def test_it_gives_up_when_no_worker_can_start_any_more(tmp_path: Path) -> None:
    """Only once no worker serves: until then replacing a dead worker is retried."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        first, second = serving(tmp_path)
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(first), "the first was reaped")
        os.kill(second, signal.SIGKILL)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "exit code 4" in out
        assert err.count("killed by SIGKILL") == 2


def test_it_keeps_serving_with_the_workers_it_has(tmp_path: Path) -> None:
    """While one serves, replacing the other is retried until it starts."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        first, second = before = serving(tmp_path)
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGKILL)
        assert process.stderr is not None
        said = ""
        while said.count("exit code 4") < 3:
            said += process.stderr.readline()
        (tmp_path / "broken").unlink()
        until(lambda: len(serving(tmp_path)) == 3, "it was replaced")
        assert second in {one.pid for one in family(process.pid)}
        process.terminate()
        until(lambda: len(list(tmp_path.glob("drained-*"))) == 2, "the living workers drain")
        assert process.wait(20) == 0
    assert before < serving(tmp_path)


def test_a_renewal_that_fails_leaves_the_old_ones(tmp_path: Path) -> None:
    """After SIGHUP no worker ends until its successor has started."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        (tmp_path / "broken").touch()
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        said = ""
        while said.count("exit code 4") < 2:
            said += process.stderr.readline()
        assert {one.pid for one in family(process.pid)[1:]} == serving(tmp_path)
        (tmp_path / "broken").unlink()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(list(tmp_path.glob("drained-*"))) == 2, "the old ones left")
        until(lambda: len(serving(tmp_path)) == 4, "the new ones serve")
