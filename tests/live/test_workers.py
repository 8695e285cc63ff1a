"""Several workers: they share the connections, are replaced, and end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.live.conftest import CONFIG
from tests.live.programs import COMMAND, environment, serving
from tests.live.sockets import Connection
from tests.live.transfers import arrived, begin, finish, held, owner, start_patch, until
from tests.support.processes import family, kill_all
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

CONTENT = os.urandom(3_000_000)


def workers(server: RegistryServer) -> set[int]:
    """Return the ids of the processes that serve."""
    return set(server.pids()[1:])


def test_both_take_new_connections(server: RegistryServer) -> None:
    """After the start neither gets all the connections that are kept."""
    owners: set[int] = set()
    with ExitStack() as stack:
        # One client alone meets the worker that is awake more often than the other.
        for _ in range(400):
            one = stack.enter_context(Connection.to(server.port))
            assert one.ask("GET /v2/ HTTP/1.1").status == 200
            owners.add(owner(server, one))
            if owners == workers(server):
                return
    raise AssertionError(f"all connections went to {owners}")


def test_the_supervisor_is_one_thread_and_has_two_children(server: RegistryServer) -> None:
    """What forks must not have threads; and it needs no helpers."""
    assert server.wire.expect(200, "GET", "/v2/")
    assert psutil.Process(server.pids()[0]).num_threads() == 1
    assert len(workers(server)) == 2


def test_one_worker_needs_no_supervisor(tmp_path: Path) -> None:
    """It is the process itself."""
    with RegistryServer(tmp_path / "server", config=CONFIG, workers=1) as server:
        assert workers(server) == set()


def test_a_worker_that_dies_is_replaced(server: RegistryServer) -> None:
    """The log says what it died of, the other goes on, and no zombie is left."""
    dying, living = workers(server)
    with ExitStack() as stack:
        kept = [stack.enter_context(Connection.to(server.port)) for _ in range(48)]
        for one in kept:
            assert one.ask("GET /v2/ HTTP/1.1").status == 200
        spared = [one for one in kept if owner(server, one) == living]
        os.kill(dying, signal.SIGKILL)
        until(lambda: server.log.count("Application startup complete") == 3, "one was added")
        for one in spared:
            assert one.ask("GET /v2/ HTTP/1.1").status == 200
    until(lambda: not psutil.pid_exists(dying), "it was reaped")
    assert living in workers(server)
    assert len(workers(server)) == 2
    assert f"worker {dying} ended: killed by SIGKILL" in server.log


def test_a_worker_told_to_end_drains_and_is_replaced(server: RegistryServer, name: str) -> None:
    """SIGTERM to a worker alone lets its upload come to its end."""
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        busy = owner(server, upload)
        os.kill(busy, signal.SIGTERM)
        until(lambda: "Shutting down" in server.log, "it drains")
        upload.send(CONTENT[1_000_000:])
        assert upload.answer().status == 202
    until(lambda: len(workers(server) - {busy}) == 2, "it was replaced")
    finish(server, path, CONTENT, len(CONTENT))


def test_hangup_replaces_all_without_a_gap(server: RegistryServer, name: str) -> None:
    """SIGHUP: new workers serve, what the old ones had begun is finished, then those are gone."""
    old = workers(server)
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000) as upload:
        until(lambda: arrived(server, path), "the upload began")
        os.kill(server.pids()[0], signal.SIGHUP)
        until(lambda: server.log.count("Shutting down") == 2, "the old ones drain")
        assert server.wire.expect(200, "GET", "/v2/")
        assert owner(server, upload) in old
        upload.send(CONTENT[1_000_000:])
        assert upload.answer().status == 202
    until(lambda: len(workers(server)) == 2 and not workers(server) & old, "the old ones ended")
    finish(server, path, CONTENT, len(CONTENT))


def test_workers_end_with_their_supervisor(tmp_path: Path, name: str) -> None:
    """Even one that is killed: all drain at once, what is in flight is finished, then all end."""
    server = RegistryServer(tmp_path / "server", config=CONFIG).start()
    orphans = [psutil.Process(pid) for pid in workers(server)]
    busy: set[int] = set()
    uploads: list[Connection] = []
    try:
        with ExitStack() as stack:
            while busy != workers(server):
                path = begin(server, name)
                upload = stack.enter_context(start_patch(server, path, CONTENT, 1_000_000))
                until(partial(arrived, server, path), "the upload began")
                busy.add(owner(server, upload))
                uploads.append(upload)
            os.kill(server.pids()[0], signal.SIGKILL)
            until(lambda: server.log.count("Shutting down") == 2, "both drain")
            for upload in uploads:
                upload.send(CONTENT[1_000_000:])
                assert upload.answer().status == 202
        _, alive = psutil.wait_procs(orphans, timeout=20)
        assert not alive
        with pytest.raises(ConnectionError):
            Connection.to(server.port)
    finally:
        kill_all(orphans)
        server.kill()


def test_a_unix_socket_has_several_workers(tmp_path: Path) -> None:
    """They share it as they share a port, and it is removed after the last of them."""
    path = tmp_path / "socket"
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}}}}}\n"
    (tmp_path / "config.yml").write_text(f"{text}http: {{net: unix, addr: {path}, workers: 2}}\n")
    with serving([str(tmp_path / "config.yml")], tmp_path) as server:
        assert len(family(server.process.pid)) == 3
        for _ in range(4):
            plain = socket.socket(socket.AF_UNIX)
            plain.settimeout(20)
            plain.connect(str(path))
            with Connection(plain) as connection:
                assert connection.ask("GET /v2/ HTTP/1.1").status == 200
    assert not path.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_interrupt_ends_the_drain(tmp_path: Path, name: str, workers: int) -> None:
    """Ctrl-C twice: a stalled upload that had ten minutes left is cut, and can be resumed."""
    config = CONFIG.replace("draintimeout: 20s", "draintimeout: 10m")
    server = RegistryServer(tmp_path / "server", config=config, workers=workers).start()
    path = begin(server, name)
    with start_patch(server, path, CONTENT, 1_000_000):
        until(lambda: arrived(server, path), "the upload began")
        os.kill(server.pids()[0], signal.SIGINT)
        until(lambda: server.log.count("Waiting for connections") > 0, "it drains")
        os.kill(server.pids()[0], signal.SIGINT)
        server.stop()
    with server:
        finish(server, path, CONTENT, held(server, path))


@pytest.fixture
def starting(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """Give a server that has just bound its port, with as many workers as the test says."""
    (tmp_path / "root").mkdir()
    options = ["--port", "0", "--root", str(tmp_path / "root"), "--workers", str(request.param)]
    process = subprocess.Popen(
        [*COMMAND, "serve", *options],
        env=environment({"REGISTRY_LOG_LEVEL": "debug"}),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        assert any("bound to" in line for line in iter(process.stderr.readline, ""))
        yield process
    finally:
        kill_all(family(process.pid))
        process.communicate()


@pytest.mark.parametrize("starting", [1, 2], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1, 0.2])
def test_a_signal_while_it_starts_is_obeyed(
    starting: subprocess.Popen[str], number: signal.Signals, seconds: float
) -> None:
    """A server that is stopped before it has begun to serve ends."""
    time.sleep(seconds)
    members = family(starting.pid)
    starting.send_signal(number)
    _, err = starting.communicate(timeout=20)
    assert starting.returncode == 0
    assert "Traceback" not in err
    assert not [one for one in members if one.is_running()]
