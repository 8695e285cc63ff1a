"""The content store: every blob and manifest once, under its digest.

It knows no repositories; callers have already checked membership.
"""

from __future__ import annotations

import logging
import time

from storage.drivers.base import Driver, OpenFile, Reader, TouchingReader
from storage.errors import PathNotFound
from storage.values import paths
from storage.values.digest import Digest

logger = logging.getLogger(__name__)


class BlobStore:
    """Content by digest; collections keep what was touched within the last `grace` seconds."""

    def __init__(self, driver: Driver, grace: float) -> None:
        self._driver = driver
        # Touching writes to the disk, so a recently touched blob is not touched again.
        self._fresh = grace / 10

    async def size(self, digest: Digest) -> int | None:
        """Return the size of `digest` in bytes; None when it is missing or was emptied."""
        info = await self._driver.stat(paths.blob(digest))
        if info is None or _was_emptied(digest, info.size):
            return None
        return info.size

    async def is_fresh(self, digest: Digest) -> bool:
        """Return whether a blob exists and was touched within a tenth of the grace period."""
        info = await self._driver.stat(paths.blob(digest))
        return info is not None and time.time() - info.modified <= self._fresh

    async def touch(self, digest: Digest) -> None:
        """Touch a blob, if it exists, so that collections keep it for the grace period.

        The blob can be read even if this fails, so an error is only logged.
        """
        try:
            await self._driver.touch(paths.blob(digest))
        except OSError as error:
            logger.warning("could not refresh the mtime of %s: %s", digest, error)

    async def open(self, digest: Digest) -> OpenFile | None:
        """Open the bytes of `digest`; return None when they are missing or were emptied."""
        try:
            file = await self._driver.open(paths.blob(digest))
        except PathNotFound:
            return None
        if _was_emptied(digest, file.size):
            await file.close()
            return None
        return file


def read_verified(reader: Reader, digest: Digest, limit: int) -> bytes | None:
    """Read all bytes of `digest` and verify them; None when missing, damaged or over `limit`."""
    try:
        content = reader.read(paths.blob(digest), limit + 1)
    except PathNotFound:
        return None
    if len(content) <= limit and Digest.of(content, digest.algorithm) == digest:
        return content
    logger.error("the file of %s is damaged (digest mismatch); treated as absent", digest)
    return None


def content_of(digest: Digest, linked: Digest | None) -> Digest | None:
    """Return the digest under which a blob's content is stored, given the digest in its link.

    The two are the same, except for a sha512 blob that was pushed to distribution: it stores the
    content under its sha256, which the link holds. Any other difference means a damaged link.
    """
    if linked is None or linked == digest or linked.algorithm != digest.algorithm:
        return linked
    logger.error("the link of blob %s names %s; treated as absent", digest, linked)
    return None


def touch(reader: TouchingReader, digest: Digest) -> bool:
    """Touch the blob `digest` and return whether it exists, in the check of a change.

    A collection that was about to delete the blob sees the new mtime and keeps it.
    """
    info = reader.touch(paths.blob(digest))
    return info is not None and not _was_emptied(digest, info.size)


def _was_emptied(digest: Digest, size: int) -> bool:
    """Return whether a crash of an older registry left an empty file in place of the content."""
    if size or digest.is_empty:
        return False
    logger.error("the file of %s is damaged (empty); treated as absent", digest)
    return True
