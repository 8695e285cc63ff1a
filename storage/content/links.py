"""Links: files that hold a digest as text. They decide what belongs to a repository.

Older registries leave empty links behind after a power cut. A damaged link is logged and treated
as absent, so that it never stops a pull, a listing or a collection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress

from storage.drivers.base import Driver, Reader
from storage.drivers.changes import Put
from storage.errors import DigestInvalid, PathNotFound
from storage.values import paths
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName, Tag, only_tags

logger = logging.getLogger(__name__)


class Links:
    """The links of one driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def read(self, path: str) -> Digest | None:
        """Return the digest in a link; None when the link is missing or damaged."""
        try:
            return _parse(path, await self._driver.read(path))
        except PathNotFound:
            return None


def link_change(path: str, digest: Digest) -> Put:
    """Return the change that writes a link to `digest`.

    Publish it in a step after the one that makes the link's target durable.
    """
    return Put(path, str(digest).encode())


def read_link(reader: Reader, path: str) -> Digest | None:
    """Read a link within a batch, as `Links.read` does."""
    try:
        return _parse(path, reader.read(path))
    except PathNotFound:
        return None


def is_member(reader: Reader, name: RepositoryName, digest: Digest) -> bool:
    """Return whether a repository has a manifest."""
    return read_link(reader, paths.revision_link(name, digest)) == digest


def digests(reader: Reader, folder: str) -> Iterator[Digest]:
    """Yield the digests that have a folder in `folder`, unordered; other names are skipped."""
    for algorithm, length in HEX_LENGTHS.items():
        for name, is_folder in reader.entries(f"{folder}/{algorithm}"):
            if is_folder and len(name) == length:
                with suppress(DigestInvalid):
                    yield Digest.parse(f"{algorithm}:{name}")


def tags_in(reader: Reader, name: RepositoryName) -> Iterator[Tag]:
    """Yield the tags that have a folder in a repository, unordered; other names are skipped.

    Iterate over the result directly: with a variable, the traceback of an error would keep the
    folder open.
    """
    folders = (entry.name for entry in reader.entries(paths.tags(name)) if entry.is_folder)
    return map(Tag, only_tags(folders))


def _parse(path: str, content: bytes) -> Digest | None:
    try:
        # distribution writes no newline and trims none; text editors add one.
        return Digest.parse(content.decode("ascii").strip())
    except (UnicodeDecodeError, DigestInvalid):
        logger.error("link %s is damaged and treated as absent: %r", path, content[:80])
        return None
