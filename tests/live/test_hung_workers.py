"""A worker of a real server that hangs, and what hangs while a real server ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.live.conftest import CONFIG
from tests.live.full_pipes import fill_log, wait_until_it_blocks
from tests.live.sockets import Connection
from tests.live.transfers import until
from tests.support.processes import family, kill_all
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

HASTY = CONFIG.replace("draintimeout: 20s", "draintimeout: 1s")
SHORT = """
from registry_server.serving.workers import bounded_server, heartbeat
heartbeat.HUNG_SECONDS, heartbeat.BEAT_SECONDS, bounded_server.MARGIN_SECONDS = 3.0, 0.2, 0.5
from registry_server.cli import main
main()
"""


class ShortServer(RegistryServer):
    """A server with short limits."""

    def command(self) -> list[str]:
        """Set the limits before the program begins."""
        python, _, _, *arguments = super().command()
        return [python, "-c", SHORT, *arguments]


class PipedServer(ShortServer):
    """A server whose standard error is `pipe`."""

    pipe: int

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(),
            cwd=self.folder,
            env=dict(self.environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=self.pipe,
            start_new_session=True,
        )


def test_a_stopped_worker_is_replaced_and_the_other_is_not(tmp_path: Path) -> None:
    """The log says so; the server answers with both, and ends with exit code 0."""
    with ShortServer(tmp_path / "server", config=CONFIG) as server:
        stopped, other = server.pids()[1:]
        os.kill(stopped, signal.SIGSTOP)
        until(lambda: f"worker {stopped} ended: killed by SIGKILL" in server.log, "it was killed")
        assert f"worker {stopped} has not responded for 3s: sending SIGKILL" in server.log
        until(lambda: server.log.count("Application startup complete") == 3, "one was added")
        assert other in server.pids()
        for _ in range(20):
            assert server.wire.expect(200, "GET", "/v2/")
        assert server.log.count("killed by") == 1


@pytest.mark.parametrize(("workers", "code"), [(1, -signal.SIGALRM), (2, 0)])
def test_a_reload_that_hangs_does_not_keep_the_server(
    tmp_path: Path, workers: int, code: int
) -> None:
    """The configuration is a pipe without a writer: SIGTERM ends the server nonetheless.

    Without a supervisor the kernel ends the process, since a thread of it still waits.
    """
    server = ShortServer(tmp_path / "server", config=HASTY, workers=workers).start()
    members = family(server.pids()[0])
    try:
        (file,) = server.folder.glob("config-*.yml")
        file.unlink()
        os.mkfifo(file)
        members[0].send_signal(signal.SIGHUP)
        until(lambda: "received SIGHUP" in server.log, "it reads")
        time.sleep(0.3)
        assert server.wire.expect(200, "GET", "/v2/")
        members[0].send_signal(signal.SIGTERM)
        assert members[0].wait(20) == code
        _, left = psutil.wait_procs(members, timeout=5)
        assert not left
    finally:
        kill_all(members)
        server.kill()


def test_a_log_that_is_not_read_does_not_keep_a_single_worker(tmp_path: Path) -> None:
    """It blocks in a line of its log; at SIGTERM the kernel ends it after its time."""
    server = PipedServer(tmp_path / "server", config=HASTY, workers=1)
    reader, server.pipe = os.pipe()
    server.start()
    os.close(server.pipe)
    (process,) = family(server.pids()[0])
    try:
        fill_log(process.pid)
        with Connection.to(server.port) as client:
            client.send(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            wait_until_it_blocks(process.pid)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == -signal.SIGALRM
    finally:
        kill_all([process])
        server.kill()
        os.close(reader)
