"""Writes a registry of many small blobs, quickly and reproducibly.

An image has ten blobs: a manifest, a configuration, eight layers. A repository has a hundred
images, and every tenth has a tag. A tenth more blobs are unreferenced, as after a deletion.

`gather` moves all images of the tree into one repository.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.layout import Descriptor, describe, image_manifest

BLOBS_PER_IMAGE = 10
IMAGES_PER_REPOSITORY = 100
REPOSITORIES_PER_TEAM = 50
IMAGES_PER_TAG = 10
ONE = "one/app"
LINKS = ("_layers/sha256", "_manifests/revisions/sha256", "_manifests/tags")


def populate(root: Path, blobs: int) -> None:
    """Write `blobs` referenced blobs, and their links, to an empty folder."""
    v2 = _prepared(root)
    for number in range(blobs // BLOBS_PER_IMAGE):
        repository = f"{v2}/repositories/{_repository(number // IMAGES_PER_REPOSITORY)}"
        if number % IMAGES_PER_REPOSITORY == 0:
            _make_repository(repository)
        _write_image(v2, repository, number)


def gather(root: Path) -> None:
    """Move all that `populate` wrote into one repository: a tenth manifests, the rest layers.

    It renames links: a second tree would need twice the inodes and several times as long.
    """
    repositories = f"{root}/docker/registry/v2/repositories"
    teams = os.listdir(repositories)
    _make_repository(f"{repositories}/{ONE}")
    for team in teams:
        for repository in os.listdir(f"{repositories}/{team}"):
            _move_links(f"{repositories}/{team}/{repository}", f"{repositories}/{ONE}")
        shutil.rmtree(f"{repositories}/{team}")


def litter(root: Path, blobs: int) -> None:
    """Write `blobs` / 10 unreferenced blobs."""
    v2 = _prepared(root)
    for content in _left_over(blobs):
        _write_blob(v2, content)


def is_littered(root: Path, blobs: int) -> bool:
    """Return True if any blob that `litter` wrote still exists."""
    v2 = _prepared(root)
    files = (f"{_folder(v2, describe(content))}/data" for content in _left_over(blobs))
    return any(map(os.path.exists, files))


def _prepared(root: Path) -> str:
    v2 = f"{root}/docker/registry/v2"
    for number in range(256):
        os.makedirs(f"{v2}/blobs/sha256/{number:02x}", exist_ok=True)
    return v2


def _repository(number: int) -> str:
    return f"team-{number // REPOSITORIES_PER_TEAM:03d}/app-{number % REPOSITORIES_PER_TEAM:02d}"


def _make_repository(path: str) -> None:
    for folder in LINKS:
        os.makedirs(f"{path}/{folder}")


def _move_links(source: str, target: str) -> None:
    for folder in LINKS:
        for name in os.listdir(f"{source}/{folder}"):
            os.rename(f"{source}/{folder}/{name}", f"{target}/{folder}/{name}")


def _write_image(v2: str, repository: str, number: int) -> None:
    config, *layers = (_write_blob(v2, content) for content in _contents(number))
    for blob in (config, *layers):
        _write_link(f"{repository}/_layers/{_below(blob)}", blob)
    manifest = _write_blob(v2, image_manifest(config, layers))
    _write_link(f"{repository}/_manifests/revisions/{_below(manifest)}", manifest)
    if number % IMAGES_PER_TAG == 0:
        tag = f"{repository}/_manifests/tags/v{number}"
        os.makedirs(f"{tag}/index/sha256")
        _write_link(f"{tag}/index/{_below(manifest)}", manifest)
        _write_link(f"{tag}/current", manifest)


def _contents(number: int) -> Iterator[bytes]:
    return (f"image {number}, part {part}".encode() for part in range(BLOBS_PER_IMAGE - 1))


def _left_over(blobs: int) -> Iterator[bytes]:
    return (f"left over {number}".encode() for number in range(blobs // BLOBS_PER_IMAGE))


def _write_blob(v2: str, content: bytes) -> Descriptor:
    blob = describe(content)
    folder = _folder(v2, blob)
    os.mkdir(folder)
    _write(f"{folder}/data", content)
    return blob


def _folder(v2: str, blob: Descriptor) -> str:
    digits = blob.digest.partition(":")[2]
    return f"{v2}/blobs/sha256/{digits[:2]}/{digits}"


def _write_link(folder: str, blob: Descriptor) -> None:
    os.mkdir(folder)
    _write(f"{folder}/link", blob.digest.encode())


def _write(path: str, content: bytes) -> None:
    # Several times faster than a file object, which matters for millions of files.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _below(blob: Descriptor) -> str:
    return blob.digest.replace(":", "/")
