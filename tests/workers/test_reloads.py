"""SIGHUP to a supervisor: all workers are replaced at one moment, or none is."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.live.transfers import until
from tests.support.processes import family
from tests.workers.test_supervisor import serving, supervised

pytestmark = pytest.mark.live


def hear(process: subprocess.Popen[str], words: str) -> None:
    """Read the log up to a line with these words."""
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()):
        assert line, f"the log ended without {words!r}"


def alive(process: subprocess.Popen[str]) -> set[int]:
    """Return the ids of the living workers."""
    return {one.pid for one in family(process.pid)[1:]}


def test_one_successor_that_fails_keeps_all_of_them_from_taking_over(tmp_path: Path) -> None:
    """The other successor waits for it and ends unused; the next signal replaces all."""
    with supervised("unlucky", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        old = serving(tmp_path)
        (tmp_path / "victim").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(list(tmp_path.glob("ready-*"))) == 3, "the other one is ready")
        (tmp_path / "let-go").touch()
        hear(process, "the previous workers continue")
        until(lambda: alive(process) == old, "the other one left again")
        assert serving(tmp_path) == old
        process.send_signal(signal.SIGHUP)
        until(lambda: alive(process) == serving(tmp_path) - old, "all were replaced")
        assert len(alive(process)) == 2


def test_a_signal_during_a_renewal_is_obeyed_after_it(tmp_path: Path) -> None:
    """It is not lost, and forks no workers while others are starting."""
    with supervised("unlucky", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        old = serving(tmp_path)
        (tmp_path / "victim").touch()
        process.send_signal(signal.SIGHUP)
        until(lambda: len(list(tmp_path.glob("ready-*"))) == 3, "the other one is ready")
        process.send_signal(signal.SIGHUP)
        hear(process, "received SIGHUP")
        hear(process, "received SIGHUP")
        (tmp_path / "let-go").touch()
        hear(process, "the previous workers continue")
        until(lambda: alive(process) == serving(tmp_path) - old, "all were replaced")
        assert len(alive(process)) == 2
        # Two at the start, one successor that never served, two in the end.
        assert len(list(tmp_path.glob("ready-*"))) == 5


@pytest.mark.parametrize(("file", "words"), [("refused", ""), ("mistaken", "an internal error")])
def test_workers_keep_serving_when_a_reload_brings_nothing_new(
    tmp_path: Path, file: str, words: str
) -> None:
    """Whether the configuration is refused or reading it fails: no worker is forked or ends."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        old = serving(tmp_path)
        (tmp_path / file).touch()
        # A worker that is forked for this would fail, which would be logged.
        (tmp_path / "broken").touch()
        process.send_signal(signal.SIGHUP)
        if words:
            hear(process, words)
        else:
            until(lambda: list(tmp_path.glob("read-*")), "it was read")
        (tmp_path / file).unlink()
        process.send_signal(signal.SIGHUP)
        hear(process, "the previous workers continue")
        (tmp_path / "broken").unlink()
        process.send_signal(signal.SIGHUP)
        until(lambda: alive(process) == serving(tmp_path) - old, "all were replaced")
        assert len(serving(tmp_path)) == 4


def test_a_burst_of_signals_ends_with_as_many_workers_as_before(tmp_path: Path) -> None:
    """No signal is lost or adds a process."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        old = serving(tmp_path)
        for _ in range(20):
            process.send_signal(signal.SIGHUP)
        until(lambda: len(alive(process)) == 2 and not alive(process) & old, "all were replaced")


def test_a_drain_may_begin_during_a_reload(tmp_path: Path) -> None:
    """Serving workers and their successors all end, and the exit code is 0."""
    with supervised("fragile", tmp_path) as process:
        until(lambda: len(serving(tmp_path)) == 2, "both serve")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    drained = {int(one.name.rpartition("-")[2]) for one in tmp_path.glob("drained-*")}
    assert drained >= serving(tmp_path)
