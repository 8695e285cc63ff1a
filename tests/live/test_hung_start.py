"""A server that is told to stop while it starts and hangs: on a pipe, or on a lock."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.programs import COMMAND, environment
from tests.live.transfers import until
from tests.support.processes import family, kill_all
from tests.support.tools import require_namespaces

pytestmark = pytest.mark.live

SHORT = """
from registry_server.files import atomic_file
from registry_server.serving.workers import start_limit
atomic_file.PATIENCE, start_limit.SECONDS = 0.5, 0.5
from registry_server.cli import main
main()
"""
CONFIG = """
version: 0.1
log: {{level: debug}}
storage: {{filesystem: {{rootdirectory: {0}/root}}}}
http: {{net: unix, addr: {0}/socket, workers: {1}}}
auth: {{htpasswd: {{realm: r, path: {0}/users/file}}}}
"""
USER = b"ann:$2y$05$TM5J2xKzTKVzQpQFDO1sLOB6a1ufAVK1ZyoSWhZ8yTf5gbdKg9wEm\n"


@contextmanager
def starting(folder: Path, workers: int) -> Iterator[subprocess.Popen[bytes]]:
    """Begin to start a server; no process of it outlives the block."""
    (folder / "config.yml").write_text(CONFIG.format(folder, workers))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SHORT, "serve", "config.yml"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_all(family(process.pid))
        process.wait(10)


def make_pipe(folder: Path) -> Path:
    """Make the file of users a pipe."""
    (folder / "users").mkdir()
    os.mkfifo(folder / "users/file")
    return folder / "users/file"


def feed(pipe: Path, log: Path, words: str) -> int:
    """Give each reader of a pipe its content until the log has `words`; return the open pipe."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # no process reads it now
            time.sleep(0.01)
            continue
        if words in log.read_text():
            return end
        os.write(end, USER)
        os.close(end)
        time.sleep(0.05)  # or a reader could get the content twice
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_a_file_of_users_can_be_ended(
    tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    """The file is a pipe without a writer. The kernel ends the server, as the docs say."""
    make_pipe(tmp_path)
    with starting(tmp_path, workers) as process:
        until((tmp_path / "socket").exists, "it prepares to serve")
        process.send_signal(number)
        assert process.wait(20) == -signal.SIGALRM


def test_a_single_worker_that_hangs_while_it_builds_the_application_can_be_ended(
    tmp_path: Path,
) -> None:
    """The file of users was read before, and is a pipe in which nothing is written any more."""
    pipe = make_pipe(tmp_path)
    with starting(tmp_path, 1) as process:
        writer = feed(pipe, tmp_path / "log", "bound to")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGALRM
        os.close(writer)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_lock_on_the_folder_of_users_does_not_keep_the_server(
    tmp_path: Path, workers: int
) -> None:
    """Every user that can read the folder can lock it: the start fails, and names the folder."""
    (tmp_path / "users").mkdir()
    folder = os.open(tmp_path / "users", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with starting(tmp_path, workers) as process:
        assert process.wait(20) == 2
    os.close(folder)
    said = f"timed out waiting for the lock of {tmp_path}/users: another process holds it"
    assert f"access control can't be set up: {said}" in (tmp_path / "log").read_text()


def test_a_lock_on_the_folder_of_users_does_not_keep_the_command(tmp_path: Path) -> None:
    """It gives up, and names the folder."""
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    done = subprocess.run(
        [sys.executable, "-c", SHORT, "htpasswd", "file", "ann"],
        cwd=tmp_path,
        env=environment(),
        input=b"secret\n",
        capture_output=True,
        timeout=30,
        check=False,
    )
    os.close(folder)
    assert done.returncode == 1
    assert b"another process holds it" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_process_of_a_container_can_be_ended_while_it_reads_its_configuration(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The kernel hides signals from it that it has no handler for."""
    os.mkfifo(tmp_path / "config.yml")
    require_namespaces()
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    process = subprocess.Popen(
        [*unshare, *COMMAND, "serve", "config.yml"],
        cwd=tmp_path,
        env=environment(),
        start_new_session=True,
    )
    try:
        until(lambda: len(family(process.pid)) == 3, "it reads")
        family(process.pid)[1].send_signal(number)
        assert process.wait(20) == 3
    finally:
        kill_all(family(process.pid))
        process.communicate()
