"""An upload session is its files: any server over the same disk can finish it.

Either registry may begin and either may finish it, also after a kill.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.layers import MIB, noise
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.wire import Answer, Body, sha256, with_query

pytestmark = [pytest.mark.clients, pytest.mark.live]

NAME = "across/app"
KINDS: list[type[LiveServer]] = [RegistryServer, DistributionServer]
PAIRS = [pytest.param(a, b, id=f"{a.__name__}-{b.__name__}") for a in KINDS for b in KINDS]

# Bytes a server may read for two requests: code, configuration, links; no content.
SMALL_READS = 4 * MIB


def content_of(mebibytes: int) -> bytes:
    """Return that many MiB that differ everywhere."""
    return b"".join(noise(mebibytes, seed=7))


def begin(server: LiveServer, part: Body) -> str:
    """Start an upload and send its first part; return the upload's uuid."""
    begun = server.wire.expect(202, "POST", f"/v2/{NAME}/blobs/uploads/")
    server.wire.expect(202, "PATCH", begun.header("Location"), part)
    return begun.header("Docker-Upload-UUID")


def held(server: LiveServer, uuid: str) -> Answer:
    """Ask how much of an upload the server holds."""
    return server.wire.expect(204, "GET", server.upload_target(NAME, uuid))


def finish(server: LiveServer, uuid: str, content: bytes) -> None:
    """Send what is missing according to the server's Range, then commit."""
    offset = int(held(server, uuid).header("Range").removeprefix("0-")) + 1
    headers = {"Content-Range": f"{offset}-{len(content) - 1}"}
    target = server.upload_target(NAME, uuid)
    patched = server.wire.expect(202, "PATCH", target, content[offset:], headers)
    commit(server, patched.header("Location"), content)


def commit(server: LiveServer, location: str, content: bytes) -> None:
    """Finish an upload that has all its bytes; the blob must be what was sent."""
    server.wire.expect(201, "PUT", with_query(location, f"digest={sha256(content)}"))
    got = server.wire.expect(200, "GET", f"/v2/{NAME}/blobs/{sha256(content)}")
    assert got.body == content
    assert not list(server.upload_folder(NAME, "none").parent.iterdir())


@pytest.mark.parametrize(("starts", "ends"), PAIRS)
def test_begun_by_one_and_finished_by_another(
    tmp_path: Path, starts: type[LiveServer], ends: type[LiveServer]
) -> None:
    """The second server knows the offset, takes the rest and commits the whole."""
    content = content_of(6)
    with starts(tmp_path) as server:
        uuid = begin(server, content[: 4 * MIB + 11])
    with ends(tmp_path) as server:
        assert held(server, uuid).header("Range") == f"0-{4 * MIB + 10}"
        finish(server, uuid, content)


@pytest.mark.parametrize("way", ["PATCH", "PUT"])
def test_an_upload_url_of_docker_registry_is_accepted(tmp_path: Path, way: str) -> None:
    """A client continues at distribution's Location, though another server listens there now."""
    content = content_of(1)
    with DistributionServer(tmp_path) as server:
        begun = server.wire.expect(202, "POST", f"/v2/{NAME}/blobs/uploads/")
        sent = server.wire.expect(202, "PATCH", begun.header("Location"), content[:1000])
    location = sent.header("Location")
    with RegistryServer(tmp_path) as server:
        if way == "PATCH":
            rest = server.wire.expect(202, "PATCH", location, content[1000:])
            commit(server, rest.header("Location"), content)
            return
        target = with_query(location, f"digest={sha256(content)}")
        server.wire.expect(201, "PUT", target, content[1000:])


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("starts", "ends"), PAIRS)
def test_finishing_does_not_read_what_was_already_hashed(
    tmp_path: Path, starts: type[LiveServer], ends: type[LiveServer]
) -> None:
    """With the state of the hash on disk, a commit does not read the content again."""
    content = content_of(64)
    with starts(tmp_path) as server:
        uuid = begin(server, content)
    with ends(tmp_path) as server:
        target = server.upload_target(NAME, uuid)
        before = server.bytes_read()
        server.wire.expect(201, "PUT", with_query(target, f"digest={sha256(content)}"))
        assert server.bytes_read() - before < SMALL_READS


@pytest.mark.parametrize("ends", KINDS)
def test_without_the_saved_state_the_content_is_read_again(
    tmp_path: Path, ends: type[LiveServer]
) -> None:
    """An upload without its hash states is hashed from its content, and committed."""
    content = content_of(16)
    with RegistryServer(tmp_path) as server:
        uuid = begin(server, content)
        shutil.rmtree(server.upload_folder(NAME, uuid) / "hashstates")
    with ends(tmp_path) as server:
        target = with_query(server.upload_target(NAME, uuid), f"digest={sha256(content)}")
        before = server.bytes_read()
        server.wire.expect(201, "PUT", target)
        assert server.bytes_read() - before >= len(content)


def test_continued_after_the_server_was_killed(tmp_path: Path) -> None:
    """What a PATCH was answered for is held by the next process, to the byte."""
    content = content_of(6)
    server = RegistryServer(tmp_path, workers=2).start()
    uuid = begin(server, content[: 3 * MIB + 5])
    server.kill()
    with server:
        assert held(server, uuid).header("Range") == f"0-{3 * MIB + 4}"
        finish(server, uuid, content)


def test_continued_after_a_kill_in_the_middle_of_a_chunk(tmp_path: Path) -> None:
    """The next process holds a prefix of the interrupted chunk, and continues after it."""
    content = content_of(40)
    server = RegistryServer(tmp_path, workers=2).start()
    uuid = begin(server, content[:MIB])
    with closing(half_sent_patch(server, uuid, content[MIB : 24 * MIB], len(content))):
        wait_for_size(server.upload_folder(NAME, uuid) / "data", 8 * MIB)
        server.kill()
    with server:
        last = int(held(server, uuid).header("Range").removeprefix("0-"))
        assert MIB - 1 <= last < 24 * MIB
        finish(server, uuid, content)


@pytest.mark.timeout(120)
def test_a_quarter_of_a_gigabyte_is_not_read_again_after_a_restart(tmp_path: Path) -> None:
    """The first part arrives before the restart; the last chunk and the commit are cheap."""
    *first_part, last = noise(257, seed=8)
    whole = hashlib.sha256()
    for block in (*first_part, last):
        whole.update(block)
    server = RegistryServer(tmp_path, workers=2).start()
    uuid = begin(server, first_part)
    server.restart()
    before = server.bytes_read()
    target = server.upload_target(NAME, uuid)
    with_last = with_query(target, f"digest=sha256:{whole.hexdigest()}")
    server.wire.expect(201, "PUT", with_last, last)
    assert server.bytes_read() - before < len(last) + SMALL_READS
    server.stop()


def half_sent_patch(server: LiveServer, uuid: str, part: bytes, length: int) -> socket.socket:
    """Send a PATCH that announces more than it brings; return the open connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    head = [
        f"PATCH {server.upload_target(NAME, uuid)} HTTP/1.1",
        f"Host: {server.address}",
        f"Content-Length: {length}",
    ]
    connection.sendall("\r\n".join([*head, "", ""]).encode() + part)
    return connection


def wait_for_size(path: Path, size: int) -> None:
    """Wait until a file has grown to at least `size` bytes; the test's timeout is the limit."""
    while path.stat().st_size < size:
        time.sleep(0.005)
