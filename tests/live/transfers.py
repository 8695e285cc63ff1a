"""Transfers that take their time: an upload and a download a test can stop in the middle of."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from tests.live.sockets import Connection, head_of
from tests.support.servers import LiveServer
from tests.support.wire import path_of, sha256, with_query

PATIENCE = 20.0


def until(happened: Callable[[], object], what: str) -> None:
    """Wait until something has happened; fail when it does not."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"it never happened that {what}"
        time.sleep(0.02)


def begin(server: LiveServer, name: str) -> str:
    """Begin an upload; return its path."""
    begun = server.wire.expect(202, "POST", f"/v2/{name}/blobs/uploads/")
    return path_of(begun.header("Location"))


def held(server: LiveServer, path: str) -> int:
    """Return how many bytes the status of an upload says are held."""
    return int(server.wire.expect(204, "GET", path).header("Range").removeprefix("0-")) + 1


def finish(server: LiveServer, path: str, content: bytes, done: int) -> None:
    """Send what is missing and close the upload; pull what came of it."""
    target = with_query(path, f"digest={sha256(content)}")
    answer = server.wire.expect(201, "PUT", target, content[done:])
    assert server.wire.expect(200, "GET", answer.header("Location")).body == content


def start_patch(server: LiveServer, path: str, content: bytes, sent: int) -> Connection:
    """Begin to send `content` as one chunk, and stop after `sent` bytes."""
    connection = Connection.to(server.port)
    connection.send(head_of(f"PATCH {path} HTTP/1.1\nContent-Length: {len(content)}"))
    connection.send(content[:sent])
    return connection


def arrived(server: LiveServer, path: str) -> bool:
    """Tell whether a server has taken hold of an upload's data file for writing."""
    data = (
        server.root
        / "docker/registry/v2/repositories"
        / path.removeprefix("/v2/").replace("/blobs/uploads/", "/_uploads/")
        / "data"
    )
    return any(str(data) == file for file in open_files(server))


def open_files(server: LiveServer) -> list[str]:
    """Return the paths of all files that the server's processes have open."""
    found: list[str] = []
    for pid in server.pids():
        try:
            found += [file.path for file in psutil.Process(pid).open_files()]
        except psutil.NoSuchProcess:
            continue
    return found


def owner(server: LiveServer, connection: Connection) -> int:
    """Return the id of the process that serves a connection."""
    port = connection.socket.getsockname()[1]
    for pid in server.pids():
        for one in psutil.Process(pid).net_connections("tcp"):
            if one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED:
                return pid
    raise AssertionError(f"nobody serves the connection from port {port}")


def resident(server: LiveServer) -> int:
    """Return how many bytes of memory the server's processes have to themselves."""
    return sum(psutil.Process(pid).memory_full_info().uss for pid in server.pids())
