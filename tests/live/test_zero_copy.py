"""Blobs that the kernel sends: whole, in parts, cold, cut, among other answers, to odd clients."""

from __future__ import annotations

import hashlib
import os
import random
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.live.sockets import Connection, head_of
from tests.live.transfers import open_files, until
from tests.support.servers import RegistryServer
from tests.support.wire import sha256

pytestmark = pytest.mark.live

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(5 * MIB + 17)
CONFIG = """
version: 0.1
log: {level: info}
storage: {delete: {enabled: true}, filesystem: {rootdirectory: /nowhere}}
http: {draintimeout: 1s}
"""
Connect = Callable[[], Connection]


@pytest.fixture
def blob(shared: RegistryServer, name: str) -> str:
    """Push a blob of a few MiB; return its path."""
    return f"/v2/{name}/blobs/{shared.wire.push_blob(name, CONTENT)}"


def stored(server: RegistryServer, content: bytes) -> Path:
    """Return the file that holds a blob."""
    hexed = hashlib.sha256(content).hexdigest()
    return server.root / "docker/registry/v2/blobs/sha256" / hexed[:2] / hexed / "data"


def test_answers_of_all_kinds_in_their_order(
    shared: RegistryServer, blob: str, connect: Connect
) -> None:
    """Pipelined in one packet: in memory and from a file by turns, none in another's midst."""
    asked = [
        ("GET /v2/", "", b"{}"),
        (f"GET {blob}", "", CONTENT),
        ("GET /v2/", "", b"{}"),
        (f"GET {blob}", "\nRange: bytes=1-2000000", CONTENT[1:2000001]),
        (f"HEAD {blob}", "", b""),
        (f"GET {blob}", "\nRange: bytes=-1", CONTENT[-1:]),
        ("GET /v2/", "", b"{}"),
    ]
    connection = connect()
    connection.send(b"".join(head_of(f"{line} HTTP/1.1{more}") for line, more, _ in asked))
    for line, _, expected in asked:
        assert connection.answer(line.partition(" ")[0]).body == expected


def test_a_head_alone(blob: str, connect: Connect) -> None:
    """HEAD says the length and sends nothing, and the connection goes on."""
    connection = connect()
    for _ in range(3):
        answer = connection.ask(f"HEAD {blob} HTTP/1.1")
        assert (answer.status, answer.header("Content-Length")) == (200, str(len(CONTENT)))
        assert connection.ask("GET /v2/ HTTP/1.1").body == b"{}"


def test_a_blob_of_nothing(shared: RegistryServer, name: str, connect: Connect) -> None:
    """Its head arrives although no byte comes behind it, and the connection goes on."""
    path = f"/v2/{name}/blobs/{shared.wire.push_blob(name, b'')}"
    connection = connect()
    for _ in range(3):
        answer = connection.ask(f"GET {path} HTTP/1.1")
        assert (answer.status, answer.body) == (200, b"")


def test_several_ranges(blob: str, connect: Connect) -> None:
    """Each part behind its own head, and the whole as long as it says."""
    wanted = [(0, 9), (MIB, 3 * MIB), (len(CONTENT) - 5, len(CONTENT) - 1)]
    ranges = ",".join(f"{first}-{last}" for first, last in wanted)
    connection = connect()
    for _ in range(2):
        answer = connection.ask(f"GET {blob} HTTP/1.1\nRange: bytes={ranges}")
        assert answer.status == 206
        boundary = answer.header("Content-Type").partition("boundary=")[2].encode()
        parts = answer.body.split(b"--" + boundary)[1:-1]
        bodies = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts]
        assert bodies == [CONTENT[first : last + 1] for first, last in wanted]


def test_a_file_that_is_not_in_memory(shared: RegistryServer, blob: str, connect: Connect) -> None:
    """It is read from the disk, by a thread, and is the same."""
    file = os.open(stored(shared, CONTENT), os.O_RDONLY)
    try:
        os.fsync(file)
        for wanted, expected in (("", CONTENT), ("\nRange: bytes=3000000-", CONTENT[3000000:])):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            assert connect().ask(f"GET {blob} HTTP/1.1{wanted}").body == expected
    finally:
        os.close(file)


def test_a_file_that_was_cut(shared: RegistryServer, name: str, connect: Connect) -> None:
    """Damage ends the connection short of what it promised, and nothing else."""
    # More than the buffers of both ends hold.
    content = CONTENT * 8 + name.encode()
    path = f"/v2/{name}/blobs/{shared.wire.push_blob(name, content)}"
    connection = connect()
    connection.send(head_of(f"GET {path} HTTP/1.1"))
    assert connection.head().status == 200
    os.truncate(stored(shared, content), 100)
    received = 0
    with suppress(ConnectionError):
        while piece := connection.socket.recv(MIB):
            received += len(piece)
    assert received < len(content)
    assert shared.wire.expect(200, "GET", "/v2/").body == b"{}"
    until(lambda: "a file was truncated" in shared.log, "the log says so")


def test_a_client_that_says_it_sends_no_more(blob: str, connect: Connect) -> None:
    """It gets nothing, or what it asked for: never a part that looks whole."""
    connection = connect()
    connection.send(head_of(f"GET {blob} HTTP/1.1"))
    connection.socket.shutdown(socket.SHUT_WR)
    found = connection.read(len(CONTENT) + 4096)
    body = found.partition(b"\r\n\r\n")[2]
    assert CONTENT.startswith(body)


def test_a_client_that_reads_byte_by_byte(
    shared: RegistryServer, blob: str, connect: Connect
) -> None:
    """It delays no other client of its worker, gets its data, and is released when it leaves."""
    slow = connect()
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.send(head_of(f"GET {blob} HTTP/1.1"))
    assert slow.head().status == 200
    for at in range(200):
        assert slow.read(1) == CONTENT[at : at + 1]
        if at % 40 == 0:
            assert connect().ask("GET /v2/ HTTP/1.1").status == 200
    slow.vanish()
    until(lambda: not _is_open(shared), "the blob is closed")
    assert "Traceback" not in shared.log


def _is_open(server: RegistryServer) -> bool:
    return str(stored(server, CONTENT)) in open_files(server)


def test_the_log_counts_what_the_kernel_sent(
    shared: RegistryServer, blob: str, connect: Connect
) -> None:
    """The bytes of the body, whole or a range."""
    assert connect().ask(f"GET {blob} HTTP/1.1").status == 200
    assert connect().ask(f"GET {blob} HTTP/1.1\nRange: bytes=0-99").status == 206
    for status, sent in ((200, len(CONTENT)), (206, 100)):
        line = f"path={blob} status={status} received=0 sent={sent} "
        until(lambda line=line: line in shared.log, "the log has the line")  # type: ignore[misc]


def test_a_drain_waits_no_longer_than_it_should(tmp_path: Path, name: str) -> None:
    """A reader that stopped reading is cut, and the server ends well."""
    with RegistryServer(tmp_path / "server", config=CONFIG) as server:
        content = CONTENT * 4
        path = f"/v2/{name}/blobs/{server.wire.push_blob(name, content)}"
        with Connection.to(server.port) as reader:
            reader.send(head_of(f"GET {path} HTTP/1.1"))
            assert reader.head().status == 200
            server.stop()
            with pytest.raises((ConnectionError, AssertionError)):
                assert reader.read(len(content)) == content
        assert "Traceback" not in server.log


def test_an_upload_and_its_download_are_the_same(
    shared: RegistryServer, name: str, connect: Connect
) -> None:
    """What was received straight into buffers is what the kernel sends, of any size around them."""
    connection = connect()
    for size in (1, 4095, 65536, MIB // 2 - 1, MIB // 2, MIB // 2 + 1, 2 * MIB + 1):
        content = CONTENT[:size]
        target = f"POST /v2/{name}/blobs/uploads/?digest={sha256(content)} HTTP/1.1"
        assert connection.ask(target, content).status == 201
        blob = f"GET /v2/{name}/blobs/{sha256(content)} HTTP/1.1"
        assert connection.ask(blob).body == content
