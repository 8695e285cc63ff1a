"""containerd's `ctr` pushes and pulls over plain HTTP."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.support.containerd import Containerd
from tests.support.images import oci_layout
from tests.support.servers import LiveServer

pytestmark = [pytest.mark.clients, pytest.mark.live]

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
