"""The tree on disk is the one CNCF distribution writes for the same requests.

The same bytes go to both servers with a raw client; then the same folders, the same files
and the same content must lie under both roots. `_referrers` is ours alone: distribution
skips folders that begin with an underscore and that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tests.support.documents import config_for, image_index, image_manifest
from tests.support.layers import compressed, tar_of
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.tree import snapshot, without
from tests.support.wire import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Wire,
    sha256,
    with_query,
)

pytestmark = [pytest.mark.clients, pytest.mark.live]

TAR = tar_of({"hello": b"world"})
LAYER = compressed(TAR)
CONFIG = config_for([TAR])
DOCKER_IMAGE = image_manifest(CONFIG, [LAYER], DOCKER_MANIFEST)
NEWER_IMAGE = image_manifest(CONFIG, [LAYER], DOCKER_MANIFEST, note="newer")
OCI_IMAGE = image_manifest(CONFIG, [LAYER], OCI_MANIFEST)
INDEX = image_index({"amd64": OCI_IMAGE}, OCI_INDEX)
LIST = image_index({"amd64": DOCKER_IMAGE}, DOCKER_LIST)

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSTANT = re.compile(r"b'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ'")

_OF_A_DIGEST = re.compile(r"/[0-9a-f]{64,128}$")


@dataclass(frozen=True, slots=True)
class Pair:
    """Both servers, and the repository that one test has for itself in each."""

    ours: LiveServer
    theirs: LiveServer
    name: str

    def both(self, step: Callable[[Wire, str], object]) -> None:
        """Do the same to both."""
        step(self.ours.wire, self.name)
        step(self.theirs.wire, self.name)

    def push_blobs(self) -> None:
        """Give both the layer and the configuration."""
        self.both(lambda wire, name: (wire.push_blob(name, LAYER), wire.push_blob(name, CONFIG)))

    def push_manifest(self, reference: str, manifest: bytes, media_type: str) -> None:
        """Put the same manifest into both."""
        self.both(lambda wire, name: wire.push_manifest(name, reference, manifest, media_type))

    def trees(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return what lies under both roots for this repository, and all blobs."""
        return self._tree(self.ours), self._tree(self.theirs)

    def assert_same(self) -> dict[str, str]:
        """Fail unless both trees are equal; return one.

        Distribution leaves the folder of a link that it removed, and we do not.
        """
        ours, theirs = self.trees()
        above = {path.rpartition("/")[0] for path in theirs}
        left = {path for path in theirs if _OF_A_DIGEST.search(path) and path not in above}
        assert ours == {path: what for path, what in theirs.items() if path not in left}
        assert any(path.endswith("/link") for path in ours)
        return ours

    def _tree(self, server: LiveServer) -> dict[str, str]:
        prefixes = (f"repositories/{self.name}/", "blobs/")
        tree = without(snapshot(server.root), "_referrers")
        return {path: what for path, what in tree.items() if path.startswith(prefixes)}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, LiveServer]]:
    """Give both servers, each over a folder of its own."""
    folder = tmp_path_factory.mktemp("golden")
    ours, theirs = RegistryServer(folder / "ours", workers=2), DistributionServer(folder / "theirs")
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def pair(servers: tuple[LiveServer, LiveServer], request: pytest.FixtureRequest) -> Pair:
    """Give both servers and a repository name that no other test uses."""
    return Pair(*servers, request.node.name.removeprefix("test_"))


def test_one_image_under_two_tags(pair: Pair) -> None:
    """A pushed image and a second tag for it: blobs, membership, revision, tags."""
    pair.push_blobs()
    pair.push_manifest("v1", DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("latest", DOCKER_IMAGE, DOCKER_MANIFEST)
    tree = pair.assert_same()
    link = f"repositories/{pair.name}/_manifests/tags/v1/current/link"
    assert tree[link] == repr(sha256(DOCKER_IMAGE).encode())


def test_a_tag_that_moved(pair: Pair) -> None:
    """The tag's index keeps what it pointed to before."""
    pair.push_blobs()
    pair.push_manifest("latest", DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("latest", NEWER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("latest", NEWER_IMAGE, DOCKER_MANIFEST)
    pair.assert_same()


def test_manifests_by_digest_and_indexes_of_them(pair: Pair) -> None:
    """Untagged revisions, an OCI index and a Docker manifest list."""
    pair.push_blobs()
    pair.push_manifest(sha256(OCI_IMAGE), OCI_IMAGE, OCI_MANIFEST)
    pair.push_manifest(sha256(DOCKER_IMAGE), DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("oci", INDEX, OCI_INDEX)
    pair.push_manifest("docker", LIST, DOCKER_LIST)
    pair.assert_same()


def test_a_mounted_blob(pair: Pair) -> None:
    """A mount writes the link of the blob into the new repository, and nothing else."""
    pair.both(lambda wire, name: wire.push_blob(f"{name}-source", LAYER))
    pair.both(lambda wire, name: wire.mount(name, sha256(LAYER), f"{name}-source"))
    pair.assert_same()


def test_blobs_in_chunks_twice_and_of_no_bytes(pair: Pair) -> None:
    """However a blob arrived, and how often, it lies there once and its upload is gone."""
    for content in (b"in two chunks", b"in two chunks", b""):
        pair.both(partial(push_in_chunks, content=content))
    pair.assert_same()


def test_a_manifest_deleted_and_pushed_again(pair: Pair) -> None:
    """Its tag is deleted too, other tags and blobs stay; a new push restores everything."""
    pair.push_blobs()
    pair.push_manifest("kept", DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("gone", NEWER_IMAGE, DOCKER_MANIFEST)
    target = f"manifests/{sha256(NEWER_IMAGE)}"
    pair.both(lambda wire, name: wire.expect(202, "DELETE", f"/v2/{name}/{target}"))
    pair.assert_same()
    pair.push_manifest("gone", NEWER_IMAGE, DOCKER_MANIFEST)
    pair.assert_same()


def test_a_deleted_tag(pair: Pair) -> None:
    """Only the tag's folder is deleted; registry 2.8 cannot delete tags: its tree is compared."""
    pair.push_blobs()
    for tag in ("kept", "gone"):
        pair.push_manifest(tag, DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.ours.wire.expect(202, "DELETE", f"/v2/{pair.name}/manifests/gone")
    ours, theirs = pair.trees()
    assert any("/tags/gone/" in path for path in theirs)
    assert ours == without(theirs, "gone")


def test_a_tag_history_outlives_its_manifest(pair: Pair) -> None:
    """A tag that moved on keeps its place when what it once named is deleted."""
    pair.push_blobs()
    pair.push_manifest("latest", DOCKER_IMAGE, DOCKER_MANIFEST)
    pair.push_manifest("latest", NEWER_IMAGE, DOCKER_MANIFEST)
    target = f"manifests/{sha256(DOCKER_IMAGE)}"
    pair.both(lambda wire, name: wire.expect(202, "DELETE", f"/v2/{name}/{target}"))
    pair.assert_same()


def test_a_blob_deleted_and_pushed_again(pair: Pair) -> None:
    """Deleting a blob takes its membership, not its bytes."""
    pair.push_blobs()
    target = f"blobs/{sha256(LAYER)}"
    pair.both(lambda wire, name: wire.expect(202, "DELETE", f"/v2/{name}/{target}"))
    pair.assert_same()
    pair.push_blobs()
    pair.assert_same()


def test_a_refused_manifest(pair: Pair) -> None:
    """A manifest whose blobs the repository does not have leaves no trace."""
    pair.push_blobs()
    before = pair.assert_same()
    stray = image_manifest(b"never pushed", [], DOCKER_MANIFEST)
    headers = {"Content-Type": DOCKER_MANIFEST}
    pair.both(
        lambda wire, name: wire.expect(400, "PUT", f"/v2/{name}/manifests/v1", stray, headers)
    )
    assert pair.assert_same() == before


def test_an_upload_in_progress(pair: Pair) -> None:
    """There is data, the start and the state of the hash; theirs keeps old states too."""
    pair.push_blobs()

    def begin(wire: Wire, name: str) -> None:
        begun = wire.expect(202, "POST", f"/v2/{name}/blobs/uploads/")
        patched = wire.expect(202, "PATCH", begun.header("Location"), b"hello ")
        wire.expect(202, "PATCH", patched.header("Location"), bytes(5_000_000))

    pair.both(begin)
    ours, theirs = (normalised(tree) for tree in pair.trees())
    older = {path for path in theirs if path.endswith(("/sha256/0", "/sha256/6"))}
    current = {path for path in theirs if path.endswith("/hashstates/sha256/5000006")}
    assert len(current) == 1
    assert len(older) == 2
    assert {path: what for path, what in theirs.items() if path not in older - set(ours)} == ours


def push_in_chunks(wire: Wire, name: str, *, content: bytes) -> None:
    """Upload with two PATCH requests and a PUT that carries nothing."""
    half = len(content) // 2
    answer = wire.expect(202, "POST", f"/v2/{name}/blobs/uploads/")
    for chunk in (content[:half], content[half:]):
        answer = wire.expect(202, "PATCH", answer.header("Location"), chunk)
    wire.expect(201, "PUT", with_query(answer.header("Location"), f"digest={sha256(content)}"))


def normalised(tree: dict[str, str]) -> dict[str, str]:
    """Replace the upload's random name and the second in which it began."""
    return {UUID.sub("<uuid>", path): INSTANT.sub("<instant>", what) for path, what in tree.items()}
