"""A registry of many small blobs, written fast and the same each time.

An image has ten blobs: a manifest, a configuration, eight layers. A repository has a hundred
images, and every tenth has a tag. A tenth more blobs are unreferenced, as after a deletion.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.layout import Descriptor, describe, image_manifest

BLOBS_PER_IMAGE = 10
IMAGES_PER_REPOSITORY = 100
REPOSITORIES_PER_TEAM = 50
IMAGES_PER_TAG = 10


def populate(root: Path, blobs: int) -> None:
    """Write `blobs` referenced blobs, and their links, to an empty folder."""
    v2 = _prepared(root)
    for number in range(blobs // BLOBS_PER_IMAGE):
        repository = f"{v2}/repositories/{_repository(number // IMAGES_PER_REPOSITORY)}"
        if number % IMAGES_PER_REPOSITORY == 0:
            os.makedirs(f"{repository}/_layers/sha256")
            os.makedirs(f"{repository}/_manifests/revisions/sha256")
        _write_image(v2, repository, number)


def litter(root: Path, blobs: int) -> None:
    """Write the unreferenced blobs that belong to a registry of `blobs`: a tenth as many."""
    v2 = _prepared(root)
    for content in _left_over(blobs):
        _write_blob(v2, content)


def is_littered(root: Path, blobs: int) -> bool:
    """Tell whether anything is left of what `litter` wrote."""
    v2 = _prepared(root)
    return any(os.path.exists(f"{_folder(v2, describe(one))}/data") for one in _left_over(blobs))


def _prepared(root: Path) -> str:
    v2 = f"{root}/docker/registry/v2"
    for number in range(256):
        os.makedirs(f"{v2}/blobs/sha256/{number:02x}", exist_ok=True)
    return v2


def _repository(number: int) -> str:
    return f"team-{number // REPOSITORIES_PER_TEAM:03d}/app-{number % REPOSITORIES_PER_TEAM:02d}"


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
    # Several times as fast as a file object, and there are millions of files.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _below(blob: Descriptor) -> str:
    return blob.digest.replace(":", "/")
