"""A real disk that is full: pushes are told so, all else goes on, and the space comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import CONFIG
from tests.live.small_disks import MIB, SIZE, fill, fill_with_files, free, small_disk
from tests.live.transfers import begin, finish, held
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_INDEX, Answer, sha256, with_query

pytestmark = pytest.mark.live

TOO_MUCH = os.urandom(SIZE + MIB)
FITS = os.urandom(2 * MIB)
INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
NAME = "full/disk"
# Bytes that links and folders take, which a push leaves whether its blob fits or not.
SMALL_CHANGE = 64 << 10


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """Give a server on a small disk, with something on it that must be served throughout."""
    with (
        small_disk(tmp_path / "disk") as root,
        RegistryServer(tmp_path / "server", root, config=CONFIG) as made,
    ):
        made.wire.push_blob(NAME, b"there before")
        made.wire.push_manifest(NAME, "before", INDEX, OCI_INDEX)
        yield made
        _assert_serves(made)


def _assert_serves(server: RegistryServer) -> None:
    """Reads of each kind are answered."""
    blob = server.wire.expect(200, "GET", f"/v2/{NAME}/blobs/{sha256(b'there before')}")
    assert blob.body == b"there before"
    assert server.wire.expect(200, "GET", f"/v2/{NAME}/manifests/before").body == INDEX
    assert b'"before"' in server.wire.expect(200, "GET", f"/v2/{NAME}/tags/list").body
    assert NAME.encode() in server.wire.expect(200, "GET", "/v2/_catalog").body


def _assert_says_full(answer: Answer) -> None:
    assert answer.status == 507, answer
    (error,) = json.loads(answer.body)["errors"]
    assert error["code"] == "UNKNOWN"
    assert "full" in error["message"]


def _free(server: RegistryServer) -> int:
    return free(server.root)


def _fill(server: RegistryServer, leave: int = 0) -> Path:
    return fill(server.root, leave)


def test_a_chunk_that_does_not_fit_can_be_sent_when_there_is_room(server: RegistryServer) -> None:
    """The session holds exactly what it says, and is gone on with after space was made."""
    filler = _fill(server, leave=4 * MIB)
    path = begin(server, NAME)
    content = FITS + TOO_MUCH[: 4 * MIB]
    server.wire.expect(202, "PATCH", path, content[: 2 * MIB])
    _assert_says_full(server.wire.request("PATCH", path, content[2 * MIB :]))
    done = held(server, path)
    assert 2 * MIB <= done <= 4 * MIB
    _assert_serves(server)
    filler.unlink()
    finish(server, path, content, done)


def test_a_cancelled_session_gives_back_what_it_took(server: RegistryServer) -> None:
    """All of it, at once; and then a push that fits succeeds."""
    before = _free(server)
    path = begin(server, NAME)
    _assert_says_full(server.wire.request("PATCH", path, TOO_MUCH))
    server.wire.expect(204, "DELETE", path)
    assert _free(server) >= before - SMALL_CHANGE
    server.wire.push_blob(NAME, FITS)


def test_a_last_chunk_that_does_not_fit(server: RegistryServer) -> None:
    """A PUT that brings everything is told, and leaves a session that can be cancelled."""
    before = _free(server)
    path = begin(server, NAME)
    target = with_query(path, f"digest={sha256(TOO_MUCH)}")
    _assert_says_full(server.wire.request("PUT", target, TOO_MUCH))
    server.wire.expect(204, "DELETE", path)
    assert _free(server) >= before - SMALL_CHANGE
    server.wire.expect(404, "GET", f"/v2/{NAME}/blobs/{sha256(TOO_MUCH)}")


def test_a_single_post_that_does_not_fit_leaves_nothing(server: RegistryServer) -> None:
    """There is no session to go on with, so its space is back when it is answered."""
    before = _free(server)
    target = f"/v2/{NAME}/blobs/uploads/?digest={sha256(TOO_MUCH)}"
    _assert_says_full(server.wire.request("POST", target, TOO_MUCH))
    assert _free(server) >= before - SMALL_CHANGE
    assert not any(server.upload_folder(NAME, "x").parent.iterdir())
    server.wire.push_blob(NAME, FITS)


def test_without_room_for_a_byte_reads_go_on(server: RegistryServer) -> None:
    """Whatever would change something is told; with room for it the same succeeds."""
    filler = _fill(server)
    _assert_says_full(server.wire.request("POST", f"/v2/{NAME}/blobs/uploads/"))
    target, media_type = f"/v2/{NAME}/manifests/new", {"Content-Type": OCI_INDEX}
    _assert_says_full(server.wire.request("PUT", target, INDEX, media_type))
    server.wire.expect(404, "GET", target)
    _assert_serves(server)
    filler.unlink()
    server.wire.expect(201, "PUT", target, INDEX, media_type)


def test_without_room_for_a_byte_tags_and_blobs_can_be_deleted(server: RegistryServer) -> None:
    """Otherwise no space could ever be freed."""
    extra = server.wire.push_blob(NAME, b"extra")
    server.wire.push_manifest(NAME, "extra", INDEX, OCI_INDEX)
    _fill(server)
    server.wire.expect(202, "DELETE", f"/v2/{NAME}/manifests/extra")
    server.wire.expect(202, "DELETE", f"/v2/{NAME}/blobs/{extra}")
    server.wire.expect(404, "GET", f"/v2/{NAME}/manifests/extra")
    server.wire.expect(404, "GET", f"/v2/{NAME}/blobs/{extra}")


def test_a_disk_without_room_for_a_file_is_served_after_a_start(tmp_path: Path) -> None:
    """The start makes a file to see if the volume can be written; a full one is no reason."""
    with small_disk(tmp_path / "disk", ",nr_inodes=80") as root:
        with RegistryServer(tmp_path / "first", root, config=CONFIG) as server:
            server.wire.push_blob(NAME, b"there before")
            server.wire.push_manifest(NAME, "before", INDEX, OCI_INDEX)
        fill_with_files(root)
        with RegistryServer(tmp_path / "second", root, config=CONFIG) as server:
            _assert_serves(server)
            server.wire.expect(202, "DELETE", f"/v2/{NAME}/manifests/before")
