"""containerd's `ctr` pushes and pulls over plain HTTP."""

from __future__ import annotations

import itertools
import tarfile
from pathlib import Path

import pytest

from tests.support.build_cache import BuildCache
from tests.support.containerd import Containerd
from tests.support.images import oci_layout
from tests.support.servers import DistributionServer, LiveServer
from tests.support.wire import DOCKER_LIST, OCI_INDEX, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live]

EITHER = {"Accept": f"{OCI_INDEX}, {DOCKER_LIST}"}
PULL = ("images", "pull", "--plain-http", "--snapshotter", "native")


def image_tar(folder: Path, tag: str, *architectures: str) -> tuple[str, str, set[str]]:
    """Write a tar that `ctr images import` reads.

    Returns its path, the digest of the image or index, and the digests of all its blobs.
    """
    digest = oci_layout(folder / "layout", tag, architectures)
    path = folder / "layout.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(folder / "layout", ".")
    blobs = {f"sha256:{blob.name}" for blob in folder.glob("layout/blobs/sha256/*")}
    return str(path), digest, blobs


def digest_of(containerd: Containerd, reference: str) -> str:
    """Return the digest that containerd lists for an image."""
    lines = containerd("images", "list", f"name=={reference}").splitlines()
    return lines[1].split()[2]


def stored(containerd: Containerd) -> set[str]:
    """Return the digests of all blobs that containerd holds."""
    return set(containerd("content", "list", "--quiet").split())


def test_push_and_pull(
    containerd: Containerd, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """An image pushed, removed and pulled again has the digest and the blobs it left with."""
    reference = f"{server.address}/{repository}:v1"
    path, digest, blobs = image_tar(tmp_path, reference, "amd64")
    containerd("images", "import", "--no-unpack", path)
    containerd("images", "push", "--plain-http", reference)
    containerd("images", "remove", "--sync", reference)
    assert not stored(containerd) & blobs
    containerd(*PULL, reference)
    assert digest_of(containerd, reference) == digest
    assert stored(containerd) >= blobs


def test_every_platform_of_an_index(
    containerd: Containerd, server: LiveServer, repository: str, tmp_path: Path
) -> None:
    """An index pushed and pulled with --all-platforms brings every image of it."""
    reference = f"{server.address}/{repository}:multi"
    path, digest, blobs = image_tar(tmp_path, reference, "amd64", "arm64")
    containerd("images", "import", "--no-unpack", "--all-platforms", path)
    containerd("images", "push", "--plain-http", reference)
    containerd("images", "remove", "--sync", reference)
    assert not stored(containerd) & blobs
    containerd("content", "fetch", "--plain-http", "--all-platforms", reference)
    assert digest_of(containerd, reference) == digest
    assert stored(containerd) >= blobs


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_a_build_cache_is_copied(
    containerd: Containerd,
    server: LiveServer,
    repository: str,
    tmp_path: Path,
    media_type: str,
) -> None:
    """BuildKit's cache is copied from docker-registry by containerd to this server and back."""
    cache = BuildCache(media_type, records=len(repository))
    with DistributionServer(tmp_path / "peer") as peer:
        for blob in cache.blobs:
            peer.wire.push_blob("cache", blob)
        peer.wire.push_manifest("cache", "main", cache.index, media_type)
        copies = [f"{peer.address}/cache:main", f"{server.address}/{repository}:main"]
        copies.append(f"{peer.address}/back:main")
        for source, target in itertools.pairwise(copies):
            containerd("content", "fetch", "--plain-http", "--all-platforms", source)
            containerd("images", "tag", "--force", source, target)
            containerd("images", "push", "--plain-http", target)
            containerd("images", "remove", "--sync", source, target)
        for live, name in ((server, repository), (peer, "back")):
            found = live.wire.expect(200, "GET", f"/v2/{name}/manifests/main", None, EITHER)
            assert found.body == cache.index
            assert found.header("Content-Type") == media_type
            for blob in cache.blobs:
                target = f"/v2/{name}/blobs/{sha256(blob)}"
                assert live.wire.expect(200, "GET", target).body == blob
