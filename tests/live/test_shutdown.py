"""SIGTERM: requests in flight finish within `http.draintimeout`; then no process is left."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.conftest import CONFIG
from tests.live.sockets import Connection, head_of
from tests.live.transfers import arrived, begin, finish, held, open_files, start_patch, until
from tests.support.servers import RegistryServer
from tests.support.wire import Wire, sha256

pytestmark = pytest.mark.live

CONTENT = os.urandom(24 << 20)
HASTY = CONFIG.replace("draintimeout: 20s", "draintimeout: 1s")


@contextmanager
def stopping(server: RegistryServer) -> Iterator[None]:
    """Send SIGTERM, run the block while the server drains, then see that it ended cleanly.

    `stop` fails on an exit code other than 0, a process left behind and a traceback in the log.
    """
    failures: list[BaseException] = []

    def stop() -> None:
        try:
            server.stop()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failures, str(failures[0])


def is_draining(server: RegistryServer, workers: int = 2) -> bool:
    """Tell whether each worker has begun to shut down."""
    return server.log.count("Shutting down") == workers


def download(server: RegistryServer, path: str) -> Connection:
    """Ask for a blob, and wait until it is being served."""
    connection = Connection.to(server.port)
    connection.send(head_of(f"GET {path} HTTP/1.1"))
    until(lambda: any("/blobs/" in file for file in open_files(server)), "it is served")
    return connection


def test_what_is_in_flight_is_finished(server: RegistryServer, name: str) -> None:
    """A slow upload and a slow download go to their end, and the exit code is 0."""
    blob = f"/v2/{name}/blobs/{server.wire.push_blob(name, CONTENT)}"
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 5_000_000) as upload, download(server, blob) as reader:
        until(lambda: arrived(server, path), "the upload began")
        with stopping(server):
            until(lambda: is_draining(server), "it drains")
            upload.send(CONTENT[5_000_000:])
            answer = upload.answer()
            assert (answer.status, answer.header("Range")) == (202, f"0-{len(CONTENT) - 1}")
            assert sha256(reader.answer().body) == sha256(CONTENT)
    server.start()
    finish(server, path, CONTENT, len(CONTENT))


def test_a_connection_ends_with_its_last_answer(server: RegistryServer, name: str) -> None:
    """Who keeps connections is told, or finds out, that this one is over."""
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        with stopping(server):
            until(lambda: is_draining(server), "it drains")
            upload.send(CONTENT[1_000_000:])
            assert upload.answer().status == 202
            assert upload.is_closed()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_new_client_is_kept_waiting(tmp_path: Path, name: str, workers: int) -> None:
    """While the server drains a new connection is refused at once, not left without an answer."""
    server = RegistryServer(tmp_path / "server", config=CONFIG, workers=workers).start()
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        with stopping(server):
            until(lambda: is_draining(server, workers), "it drains")
            with pytest.raises(ConnectionError):
                Wire("127.0.0.1", server.port, timeout=5).request("GET", "/v2/")
            upload.send(CONTENT[1_000_000:])
            assert upload.answer().status == 202


def test_idle_connections_do_not_delay_the_end(server: RegistryServer) -> None:
    """A kept connection without a request, and one with half a head, are closed at once."""
    with Connection.to(server.port) as idle, Connection.to(server.port) as half:
        assert idle.ask("GET /v2/ HTTP/1.1").status == 200
        half.send(b"GET /v2/ HTTP/1.1\r\nHost:")
        with stopping(server):
            assert idle.is_closed()
            assert half.is_closed()


def test_what_takes_too_long_is_cut_and_can_be_resumed(tmp_path: Path, name: str) -> None:
    """Past the timeout the server answers 503 and ends; the upload holds all that was sent."""
    server = RegistryServer(tmp_path / "server", config=HASTY).start()
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 5_000_000) as upload:
        until(lambda: held(server, path) > 4_000_000, "the upload is written")
        with stopping(server):
            pass
        answer = upload.answer()
    assert answer.status == 503
    assert answer.header("Docker-Distribution-Api-Version") == "registry/2.0"
    assert answer.header("Content-Type") == "application/json"
    (error,) = json.loads(answer.body)["errors"]
    assert error["code"] == "UNAVAILABLE"
    with server:
        assert held(server, path) == 5_000_000
        finish(server, path, CONTENT, 5_000_000)


def test_a_stalled_reader_is_cut(tmp_path: Path, name: str) -> None:
    """Who reads nothing for longer than the timeout does not keep the server from its end."""
    server = RegistryServer(tmp_path / "server", config=HASTY, workers=1).start()
    blob = f"/v2/{name}/blobs/{server.wire.push_blob(name, CONTENT)}"
    with download(server, blob), stopping(server):
        pass


def test_a_second_signal_is_no_crash(server: RegistryServer, name: str) -> None:
    """An impatient operator's second SIGTERM does not spoil the drain or the exit code."""
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        pid = server.pids()[0]
        with stopping(server):
            until(lambda: is_draining(server), "it drains")
            os.kill(pid, signal.SIGTERM)
            upload.send(CONTENT[1_000_000:])
            assert upload.answer().status == 202


def test_a_server_that_does_nothing_ends_cleanly(tmp_path: Path) -> None:
    """Without any request in flight, and with more workers than cores."""
    with RegistryServer(tmp_path / "server", config=CONFIG, workers=3) as server:
        assert server.wire.expect(200, "GET", "/v2/")
