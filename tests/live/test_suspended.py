"""A command that is suspended (Ctrl-Z) while it works on the storage of a running server."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from storage.drivers.filesystem.tree_lock import TreeLock
from storage.values import paths
from storage.values.digest import Digest
from tests.live.programs import COMMAND, environment
from tests.live.transfers import until
from tests.support.processes import family, kill_all

pytestmark = pytest.mark.live

# The process, and the descriptor that holds the lock of the push.
Collection: TypeAlias = "tuple[subprocess.Popen[bytes], int]"


def is_free(lock: Path) -> bool:
    """Tell whether no process holds a lock."""
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    """Make a registry with a blob that nothing needs; return that."""
    blob = tmp_path / paths.blob(Digest.of(b"garbage"))
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"garbage")
    os.utime(blob, (0, 0))  # what is younger than a second stays
    (tmp_path / paths.REPOSITORIES).mkdir()
    TreeLock(str(tmp_path)).prepare()
    return blob


@contextmanager
def collecting_behind_a_push(root: Path, *, is_orphaned: bool) -> Iterator[Collection]:
    """Run a collection that keeps the gate shut, as long as the push that it waits for goes on.

    It is a job of a shell, or a first process that no shell could continue, as after
    `docker exec -it`.
    """
    push = os.open(root / paths.TREE, os.O_RDONLY)
    fcntl.flock(push, fcntl.LOCK_SH)
    process = subprocess.Popen(
        [*COMMAND, "garbage-collect", "--grace", "0s", "--root", str(root)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=is_orphaned,
        process_group=None if is_orphaned else 0,
    )
    try:
        until(lambda: not is_free(root / paths.GATE), "it waits for the push")
        yield process, push
    finally:
        kill_all(family(process.pid))
        process.communicate()


def test_a_suspended_collection_holds_no_lock_that_pushes_wait_for(
    tmp_path: Path, garbage: Path
) -> None:
    """It waits for a push with the gate shut when Ctrl-Z comes, and removes its batch first."""
    with collecting_behind_a_push(tmp_path, is_orphaned=False) as (process, push):
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
        assert not garbage.exists()


@pytest.mark.parametrize(
    ("number", "is_orphaned"),
    [(signal.SIGTSTP, True), (signal.SIGTTOU, False)],
    ids=["Ctrl-Z without a shell", "progress of a background job"],
)
def test_a_collection_goes_on_at_a_signal_that_must_not_suspend_it(
    tmp_path: Path, garbage: Path, number: int, *, is_orphaned: bool
) -> None:
    """Nothing would continue it, or it holds the lock that pushes wait for."""
    with collecting_behind_a_push(tmp_path, is_orphaned=is_orphaned) as (process, push):
        process.send_signal(number)
        time.sleep(0.2)
        os.close(push)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert not garbage.exists()
