"""A command that is suspended (Ctrl-Z) while it works on the storage of a running server."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from storage import paths
from storage.digest import Digest
from storage.drivers.tree_lock import TreeLock
from tests.live.programs import COMMAND, environment
from tests.live.transfers import until
from tests.support.processes import family, kill_all

pytestmark = pytest.mark.live


def is_free(lock: Path) -> bool:
    """Tell whether no process holds a lock."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_suspended_collection_holds_no_lock_that_pushes_wait_for(tmp_path: Path) -> None:
    """It waits for a push with the gate shut when Ctrl-Z comes, and removes its batch first."""
    blob = tmp_path / paths.blob(Digest.of(b"garbage"))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"garbage")
    os.utime(blob, (0, 0))  # what is younger than a second stays
    (tmp_path / paths.REPOSITORIES).mkdir()
    TreeLock(str(tmp_path)).prepare()
    push = os.open(tmp_path / paths.TREE, os.O_RDONLY)
    fcntl.flock(push, fcntl.LOCK_SH)
    process = subprocess.Popen(
        [*COMMAND, "garbage-collect", "--grace", "0s", "--root", str(tmp_path)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        until(lambda: not is_free(tmp_path / paths.GATE), "it waits for the push")
        process.send_signal(signal.SIGTSTP)
        time.sleep(0.2)
        os.close(push)
        stopped = psutil.STATUS_STOPPED
        until(lambda: psutil.Process(process.pid).status() == stopped, "it is suspended")
        assert is_free(tmp_path / paths.GATE)
        assert is_free(tmp_path / paths.TREE)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert not blob.exists()
    finally:
        kill_all(family(process.pid))
        process.communicate()
