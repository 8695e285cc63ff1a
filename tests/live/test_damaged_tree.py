"""A server over a tree with everything that older registries left: what clients are told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.values import paths
from storage.values.digest import Digest
from tests.live.programs import run
from tests.storage.content import CONFIG as IMAGE_CONFIG
from tests.storage.content import LAYER, image, index, raw
from tests.storage.damaged_pulls import age
from tests.storage.damaged_tree import GONE, IMAGE, damaged_tree
from tests.support.servers import RegistryServer
from tests.support.wire import OCI_INDEX, OCI_MANIFEST, Answer, Wire, sha256

pytestmark = pytest.mark.live

CONFIG = """
version: 0.1
log: {level: error}
storage: {delete: {enabled: true}, filesystem: {rootdirectory: /nowhere}}
"""
REPOSITORIES = [
    "damaged/foreign",
    "damaged/histories",
    "damaged/loops",
    "damaged/references",
    "damaged/referrers",
    "damaged/revisions",
    "damaged/tags",
    "sound/image",
]
ANY = {"Accept": "*/*"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """Serve the tree, all of it older than the grace period."""
    root = tmp_path / "root"
    root.mkdir()
    damaged_tree(root)
    age(root)
    with RegistryServer(tmp_path / "server", root, config=CONFIG) as made:
        yield made


def assert_told(answer: Answer, code: str) -> None:
    """The answer is 404, with the error of the specification."""
    assert answer.status == 404
    assert [one["code"] for one in json.loads(answer.body)["errors"]] == [code]


def assert_sound(wire: Wire) -> None:
    """The sound image is pulled, byte for byte."""
    answer = wire.expect(200, "GET", "/v2/sound/image/manifests/v1", headers=ANY)
    assert answer.body == IMAGE
    for content in (IMAGE_CONFIG, LAYER):
        got = wire.expect(200, "GET", f"/v2/sound/image/blobs/{sha256(content)}")
        assert got.body == content


def paged(wire: Wire, target: str, key: str) -> list[str]:
    """Follow the links of a list."""
    found: list[str] = []
    while target:
        answer = wire.expect(200, "GET", target)
        found += json.loads(answer.body)[key] or []
        link = answer.headers["Link"]
        target = link.partition("<")[2].partition(">")[0] if link else ""
    return found


def test_listings_go_on(server: RegistryServer) -> None:
    """The catalog, tags and referrers, in pages of one, and of what is not there."""
    wire = server.wire
    assert paged(wire, "/v2/_catalog?n=1", "repositories") == REPOSITORIES
    tags = paged(wire, "/v2/damaged/tags/tags/list?n=1", "tags")
    assert tags == json.loads(wire.expect(200, "GET", "/v2/damaged/tags/tags/list").body)["tags"]
    assert {"certain", "doubtful", "edited"} <= set(tags)
    for name in REPOSITORIES:
        wire.expect(200, "GET", f"/v2/{name}/tags/list")
        for subject in (sha256(raw(image())), str(GONE)):
            answer = wire.expect(200, "GET", f"/v2/{name}/referrers/{subject}")
            assert answer.header("Content-Type") == OCI_INDEX
    assert_sound(wire)


def test_damage_is_unknown_and_no_failure(server: RegistryServer) -> None:
    """What can't be served is 404 with the code that clients understand, and a push heals it."""
    wire = server.wire
    for tag in ("certain", "doubtful", "dead", "hopeless", "empty", "without-current"):
        answer = wire.request("GET", f"/v2/damaged/tags/manifests/{tag}", headers=ANY)
        assert_told(answer, "MANIFEST_UNKNOWN")
    layers = [b"layer %d" % number for number in range(4)]
    for layer in layers:
        answer = wire.request("GET", f"/v2/damaged/layers/blobs/{sha256(layer)}")
        assert_told(answer, "BLOB_UNKNOWN")
        wire.push_blob("damaged/layers", layer)
        got = wire.expect(200, "GET", f"/v2/damaged/layers/blobs/{sha256(layer)}")
        assert got.body == layer
    sparse = raw(index([b"a child that is gone"]))
    answer = wire.expect(
        200, "GET", f"/v2/damaged/references/manifests/{sha256(sparse)}", headers=ANY
    )
    assert answer.body == sparse
    child = sha256(b"a child that is gone")
    answer = wire.request("GET", f"/v2/damaged/references/manifests/{child}", headers=ANY)
    assert_told(answer, "MANIFEST_UNKNOWN")


def test_bytes_that_do_not_match_are_sent_whole(server: RegistryServer) -> None:
    """With the length that they have, whole and in part; who hashes them notices, and pushes."""
    wire, pushed = server.wire, b"what was pushed"
    target = f"/v2/damaged/corrupt/blobs/{sha256(pushed)}"
    assert wire.expect(200, "GET", target).body == b"what is there!!"
    assert wire.expect(200, "HEAD", target).header("Content-Length") == "15"
    assert wire.expect(206, "GET", target, headers={"Range": "bytes=5-6"}).body == b"is"
    wire.push_blob("damaged/corrupt", pushed)
    assert wire.expect(200, "GET", target).body == pushed


def test_everything_is_pushed_mounted_and_deleted(server: RegistryServer) -> None:
    """A new image in each repository, from mounted blobs; then all its tags but the sound one."""
    wire = server.wire
    manifest = raw(image(annotations={"is": "new"}))
    for name in [*REPOSITORIES, "damaged/layers", "damaged/corrupt", "new"]:
        for content in (IMAGE_CONFIG, LAYER):
            wire.mount(name, sha256(content), "sound/image")
        wire.push_manifest(name, "new", manifest, OCI_MANIFEST)
        answer = wire.expect(200, "GET", f"/v2/{name}/manifests/new", headers=ANY)
        assert answer.body == manifest
    for name in REPOSITORIES[:-1]:
        for tag in json.loads(wire.expect(200, "GET", f"/v2/{name}/tags/list").body)["tags"]:
            wire.expect(202, "DELETE", f"/v2/{name}/manifests/{tag}")
        assert json.loads(wire.expect(200, "GET", f"/v2/{name}/tags/list").body)["tags"] == []
        wire.expect(202, "DELETE", f"/v2/{name}/manifests/{sha256(manifest)}")
    corrupt = sha256(raw(image(annotations={"bytes": "corrupt"})))
    wire.expect(202, "DELETE", f"/v2/damaged/revisions/manifests/{corrupt}")
    assert_sound(wire)


def test_maintenance_beside_the_server(server: RegistryServer) -> None:
    """Every command ends with the code that says what it found, and the image is served on."""
    wire, root = server.wire, server.root
    for arguments, code in (
        (["du"], 1),
        (["scrub"], 1),
        (["purge-uploads"], 0),
        (["garbage-collect", "--dry-run"], 1),
        (["garbage-collect"], 1),
        (["garbage-collect", "--delete-untagged"], 1),
        (["scrub", "--repair"], 1),
        (["garbage-collect", "--delete-untagged"], 0),
    ):
        done = run([*arguments, "--root", str(root)], server.folder)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, f"{arguments}: {done.stdout[-800:]} {done.stderr[-800:]}"
        assert_sound(wire)
        age(root)
    assert (root / paths.REPOSITORIES / "damaged/foreign/_layers/notes.txt").exists()
    doubtful = Digest.of(raw(image(annotations={"number": "2"})))
    wire.expect(200, "GET", f"/v2/damaged/tags/manifests/{doubtful}", headers=ANY)
