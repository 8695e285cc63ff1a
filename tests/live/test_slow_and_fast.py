"""Slow and fast readers on one worker: none waits for another, and nothing is left open."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.live.conftest import CONFIG
from tests.live.sockets import Connection, head_of
from tests.live.transfers import open_files, until
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_INDEX, sha256

pytestmark = pytest.mark.live

MIB = 1 << 20
# More than the buffers of both ends hold.
CONTENT = random.Random(10).randbytes(16 * MIB)
INDEX = b'{"schemaVersion":2,"mediaType":"%b","manifests":[]}' % OCI_INDEX.encode()
NAME = "live/slow"
BLOB = f"/v2/{NAME}/blobs/{sha256(CONTENT)}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Give a server with one worker, which holds a blob and a tag."""
    with RegistryServer(tmp_path_factory.mktemp("alone"), config=CONFIG, workers=1) as server:
        server.wire.push_blob(NAME, CONTENT)
        server.wire.push_manifest(NAME, "v1", INDEX, OCI_INDEX)
        yield server


def reader(server: RegistryServer, lines: str = "") -> Connection:
    """Ask for the blob, with a buffer that holds little of it, and read the head."""
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.settimeout(20)
    opened.connect(("127.0.0.1", server.port))
    connection = Connection(opened)
    connection.send(head_of(f"GET {BLOB} HTTP/1.1{lines}"))
    assert connection.head().status in {200, 206}
    return connection


def reading(server: RegistryServer) -> int:
    """Return how many blobs the server has open."""
    return sum("/blobs/sha256/" in path for path in open_files(server))


def test_slow_readers_hold_no_thread_and_delay_no_client(alone: RegistryServer) -> None:
    """More of them than there are threads; one that reads fast, and tags, are served meanwhile."""
    process = psutil.Process(alone.pids()[0])
    with ExitStack() as stack:
        slow = [stack.enter_context(reader(alone)) for _ in range(60)]
        assert reading(alone) == len(slow)
        threads = process.num_threads()
        with Connection.to(alone.port) as fast:
            for _ in range(3):
                assert fast.ask(f"GET {BLOB} HTTP/1.1").body == CONTENT
                for each in slow:
                    assert each.read(1)
                tag = f"GET /v2/{NAME}/manifests/v1 HTTP/1.1\nAccept: {OCI_INDEX}"
                assert fast.ask(tag).body == INDEX
        assert process.num_threads() <= threads
        assert slow[0].read(len(CONTENT) - 3) == CONTENT[3:]
        assert slow[0].ask("GET /v2/ HTTP/1.1").status == 200
    until(lambda: reading(alone) == 0, "each blob was closed")


def test_downloads_leave_nothing_open(alone: RegistryServer) -> None:
    """Neither a descriptor nor a thread, however they end."""
    process = psutil.Process(alone.pids()[0])
    counts = []
    for _ in range(4):
        for lines in ("", "\nRange: bytes=5-", "\nRange: bytes=0-8000000,9000000-"):
            leave(alone, lines)
        until(lambda: idle(process), "all connections are gone")
        counts.append((process.num_fds(), process.num_threads()))
    assert counts[-1][0] <= counts[0][0]
    assert counts[-1][1] <= counts[0][1] + 1


def leave(server: RegistryServer, lines: str) -> None:
    """End a download in each way there is."""
    with reader(server, lines) as gone:
        gone.read(100_000)
        gone.vanish()
    with reader(server, lines) as gone:
        gone.read(10)
    with reader(server, lines) as half:
        half.socket.shutdown(socket.SHUT_WR)
        half.read(100_000)
    with Connection.to(server.port) as connection:
        connection.send(head_of(f"GET {BLOB} HTTP/1.1{lines}") * 3)
        assert connection.answer().status in {200, 206}


def idle(process: psutil.Process) -> bool:
    """Tell whether no client is connected; a closed connection may linger in the kernel."""
    return all(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))
