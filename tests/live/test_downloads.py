"""Downloads by clients that are slow, or gone: others are served, and nothing is left open."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.live.sockets import Connection, head_of
from tests.live.transfers import open_files, resident, until
from tests.support.servers import RegistryServer
from tests.support.wire import path_of, sha256, with_query

pytestmark = pytest.mark.live

MIB = 1 << 20
PIECE = os.urandom(MIB)
PIECES = 96
NAME = "live/large"


@pytest.fixture(scope="module")
def blob(shared: RegistryServer) -> str:
    """Push a blob of 96 MiB; return its path."""
    whole = hashlib.sha256()
    for _ in range(PIECES):
        whole.update(PIECE)
    begun = shared.wire.expect(202, "POST", f"/v2/{NAME}/blobs/uploads/")
    target = with_query(begun.header("Location"), f"digest=sha256:{whole.hexdigest()}")
    done = shared.wire.expect(201, "PUT", target, iter([PIECE] * PIECES))
    return path_of(done.header("Location"))


@pytest.fixture
def slow_readers(shared: RegistryServer, blob: str) -> Iterator[list[Connection]]:
    """Give eight clients that have asked for the blob and read nothing of it."""
    with ExitStack() as stack:
        readers = [stack.enter_context(Connection.to(shared.port)) for _ in range(8)]
        for reader in readers:
            reader.send(head_of(f"GET {blob} HTTP/1.1"))
        until(lambda: reading(shared) == len(readers), "each is served")
        yield readers


def reading(server: RegistryServer) -> int:
    """Return how many blobs the server has open."""
    return sum("/blobs/sha256/" in path for path in open_files(server))


def test_slow_readers_delay_no_other_client(
    shared: RegistryServer, slow_readers: list[Connection]
) -> None:
    """Others push and pull meanwhile, and the slow ones get their bytes in the end."""
    for number in range(20):
        content = f"meanwhile {number}".encode()
        digest = shared.wire.push_blob(NAME, content)
        assert shared.wire.expect(200, "GET", f"/v2/{NAME}/blobs/{digest}").body == content
    for reader in slow_readers:
        assert reader.head().status == 200
        assert reader.read(MIB) == PIECE


def test_slow_readers_cost_no_memory(shared: RegistryServer, blob: str) -> None:
    """At most a few MiB for each of sixteen clients that stop reading a blob of 96 MiB."""
    before = resident(shared)
    with ExitStack() as stack:
        for _ in range(16):
            reader = stack.enter_context(Connection.to(shared.port))
            reader.send(head_of(f"GET {blob} HTTP/1.1"))
        until(lambda: reading(shared) == 16, "each is served")
        for _ in range(50):
            shared.wire.expect(200, "GET", "/v2/")
        assert resident(shared) - before < 96 * MIB
    until(lambda: reading(shared) == 0, "each was let go of")


def test_a_large_upload_costs_no_memory(shared: RegistryServer, blob: str) -> None:
    """96 MiB arrive several times, and the processes are hardly larger than before."""
    before = resident(shared)
    for _ in range(3):
        begun = shared.wire.expect(202, "POST", f"/v2/{NAME}/blobs/uploads/")
        path = begun.header("Location")
        shared.wire.expect(202, "PATCH", path, iter([PIECE] * PIECES))
        shared.wire.expect(204, "DELETE", path)
    assert resident(shared) - before < 64 * MIB


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("wanted", ["", "\nRange: bytes=5-", "\nRange: bytes=0-50000000,60000000-"])
def test_a_vanished_reader_leaves_nothing_open(
    shared: RegistryServer, blob: str, wanted: str, reset: bool
) -> None:
    """Whole, a range or several: the blob is closed once the client is gone."""
    for _ in range(4):
        connection = Connection.to(shared.port)
        connection.send(head_of(f"GET {blob} HTTP/1.1{wanted}"))
        assert connection.read(100_000)
        connection.vanish() if reset else connection.close()
    until(lambda: reading(shared) == 0, "each was let go of")
    assert "Traceback" not in shared.log


def test_a_deleted_blob_is_read_to_its_end(shared: RegistryServer) -> None:
    """A client that began to read gets all of it, though the blob is deleted meanwhile."""
    content = PIECE * 24
    path = f"/v2/{NAME}/blobs/{shared.wire.push_blob(NAME, content)}"
    with Connection.to(shared.port) as connection:
        connection.send(head_of(f"GET {path} HTTP/1.1"))
        until(lambda: reading(shared), "it is served")
        shared.wire.expect(202, "DELETE", path)
        shared.wire.expect(404, "GET", path)
        answer = connection.answer()
    assert sha256(answer.body) == sha256(content)


def test_many_refused_requests_leave_nothing_open(shared: RegistryServer, blob: str) -> None:
    """Conditional, unsatisfiable and bodiless requests open no file for long."""
    for headers, status in (
        ({"Range": "bytes=999999999-"}, 416),
        ({"If-None-Match": f'"{blob.rpartition("/")[2]}"'}, 304),
        ({"Range": "bytes=x"}, 416),
    ):
        for _ in range(10):
            shared.wire.expect(status, "GET", blob, headers=headers)
    until(lambda: reading(shared) == 0, "each was let go of")
