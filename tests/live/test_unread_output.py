"""Commands whose output nothing reads: they block, and end at the second signal."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.drivers.filesystem.tree_lock import TreeLock
from storage.values import paths
from storage.values.digest import Digest
from tests.live.full_pipes import is_blocked
from tests.live.programs import COMMAND, environment
from tests.live.test_suspended import is_free
from tests.live.transfers import until
from tests.support.processes import family, kill_all

pytestmark = pytest.mark.live

# More lines than the smallest pipe has room for.
LINES = 200
# Counts all signals as one, however slow the machine is.
PATIENT = """
from registry_server.commands import progress
progress._SAME_SIGNAL = float("inf")
from registry_server.cli import main
main()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a registry of which every command has something to say."""
    repositories = tmp_path / paths.REPOSITORIES
    for number in range(LINES):
        digest = Digest.of(b"%d" % number)
        blob = tmp_path / paths.blob(digest)
        blob.parent.mkdir(parents=True)
        blob.write_bytes(b"%d" % number)
        os.utime(blob, (0, 0))
        link = repositories / "app/_layers/sha256" / digest.hex / "link"
        link.parent.mkdir(parents=True)
        link.write_bytes(b"")  # an old registry leaves such when the power goes
    TreeLock(str(tmp_path)).prepare()
    return tmp_path


@contextmanager
def unread(root: Path, words: list[str], stream: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until it blocks, because nothing reads what it writes to `stream`."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 1)
    process = subprocess.Popen(
        [*COMMAND, *words, "--root", str(root)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=writing if stream == "stdout" else subprocess.DEVNULL,
        stderr=writing if stream == "stderr" else subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        os.close(writing)
        until(lambda: is_blocked(process.pid), "it blocks")
        yield process
    finally:
        kill_all(family(process.pid))
        process.wait(30)
        os.close(reading)


@pytest.mark.parametrize(
    ("words", "stream", "claim"),
    [
        (["garbage-collect", "--grace=0s"], "stdout", paths.COLLECTION),
        (["garbage-collect", "--grace=0s", "-q"], "stderr", paths.COLLECTION),
        (["scrub"], "stdout", paths.SCRUB),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_blocks_ends_by_signals(
    root: Path, words: list[str], stream: str, claim: str, number: int
) -> None:
    """It holds no lock that pushes wait for; when it has ended, the next one can begin."""
    with unread(root, words, stream) as process:
        assert is_free(root / paths.GATE)
        assert is_free(root / paths.TREE)
        assert not is_free(root / paths.claim(claim))

        def has_ended() -> bool:
            process.send_signal(number)
            return process.poll() is not None

        until(has_ended, "it ends")
        assert process.returncode == 3
        assert is_free(root / paths.claim(claim))


def test_a_signal_that_comes_twice_is_one_signal(root: Path) -> None:
    """timeout(1) sends its signal to a process and to its group: the command ends in order."""
    with (root / paths.TREE).open() as tree:
        fcntl.flock(tree, fcntl.LOCK_SH)  # as a push: the collection waits for it
        process = subprocess.Popen(
            [sys.executable, "-c", PATIENT, "garbage-collect", "--grace=0s", "--root", str(root)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        until(lambda: not is_free(root / paths.GATE), "it waits for the push")
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == 3
    assert printed.endswith(b"registry-server: interrupted before anything was removed\n")
