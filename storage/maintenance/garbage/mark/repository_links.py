"""What the links of a repository say: its manifests, what its tags point to, its blobs."""

from __future__ import annotations

from collections.abc import Iterator

from storage.content.links import digests, read_link
from storage.drivers.base import Reader
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName, Tag


def revisions(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digests of a repository's manifests: those with a link, even a damaged one."""
    for digest in digests(reader, paths.revisions(name)):
        if reader.stat(paths.revision_link(name, digest)) is not None:
            yield digest


def targets_of(reader: Reader, name: RepositoryName, tag: Tag) -> Iterator[tuple[Digest, str]]:
    """Yield what a tag points to; if its link is damaged, all that it may point to."""
    link = paths.tag_current_link(name, tag)
    if reader.stat(link) is None:
        return
    digest = read_link(reader, link)
    if digest is not None:
        yield digest, f"tag {tag}"
        return
    for past in digests(reader, paths.tag_history(name, tag)):
        yield past, f"in the history of tag {tag}, whose link is damaged"


def linked(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield the digest of each layer link of a repository, and that of its content."""
    for digest in digests(reader, paths.layers(name)):
        yield digest
        yield content_of_link(reader, name, digest)


def linked_by_unknown_algorithms(reader: Reader, name: RepositoryName) -> Iterator[Digest]:
    """Yield content that is linked by a digest of an algorithm that this registry does not know.

    CNCF distribution accepts sha384, for example, and links it to the sha256 of the bytes. This
    registry cannot tell which manifests name such a digest, so all of this content is kept.
    """
    for algorithm in set(reader.folders(paths.layers(name))).difference(HEX_LENGTHS):
        for hex, is_folder in reader.entries(f"{paths.layers(name)}/{algorithm}"):
            link = paths.foreign_layer_link(name, algorithm, hex)
            content = read_link(reader, link) if is_folder else None
            if content is not None:
                yield content


def content_of_link(reader: Reader, name: RepositoryName, digest: Digest) -> Digest:
    """Return the digest of the content of a layer link; a damaged link counts as its own."""
    return read_link(reader, paths.layer_link(name, digest)) or digest
