"""The content store: every blob and manifest once, under its digest.

It knows nothing of repositories; whoever asks has checked membership already.
"""

from __future__ import annotations

import logging
import time

from storage import paths
from storage.digest import Digest
from storage.drivers.base import Driver, OpenFile, Uses, View
from storage.errors import PathNotFound

logger = logging.getLogger(__name__)


class BlobStore:
    """Content by digest; collections leave what is younger than `grace` seconds."""

    def __init__(self, driver: Driver, grace: float) -> None:
        self._driver = driver
        # Refreshing writes to the disk, so it is not done for each of a thousand questions.
        self._fresh = grace / 10

    async def size(self, digest: Digest) -> int | None:
        """Return how many bytes `digest` names; None when they are absent or were cut short."""
        found = await self._driver.stat(paths.blob(digest))
        if found is None or _cut_short(digest, found.size):
            return None
        return found.size

    async def is_fresh(self, digest: Digest) -> bool:
        """Tell whether bytes were used so lately that somebody may rely on them for a while."""
        found = await self._driver.stat(paths.blob(digest))
        return found is not None and time.time() - found.modified <= self._fresh

    async def use(self, digest: Digest) -> None:
        """Have collections leave bytes alone for the grace period, if they are there.

        Where that can't be written down the bytes can still be read, so that is only logged.
        """
        try:
            await self._driver.use(paths.blob(digest))
        except OSError as error:
            logger.warning("that %s is used was not written down: %s", digest, error)

    async def open(self, digest: Digest) -> OpenFile | None:
        """Open the bytes of `digest`; None when they are absent or were cut short."""
        try:
            file = await self._driver.open(paths.blob(digest))
        except PathNotFound:
            return None
        if _cut_short(digest, file.size):
            await file.close()
            return None
        return file


def read_verified(view: View, digest: Digest, limit: int) -> bytes | None:
    """Read all bytes of `digest` within a batch; None when absent, damaged, or over `limit`."""
    try:
        content = view.read(paths.blob(digest), limit + 1)
    except PathNotFound:
        return None
    if len(content) <= limit and Digest.of(content, digest.algorithm) == digest:
        return content
    logger.error("the bytes stored for %s are not what it names; treated as absent", digest)
    return None


def content_of(digest: Digest, linked: Digest | None) -> Digest | None:
    """Return the digest under which a blob's content is stored, given what its link says.

    It is the blob's own, except where distribution took a sha512 push: it stores that under the
    sha256 of the bytes and has the link say so. Any other link is damaged, and leads nowhere.
    """
    if linked is None or linked == digest or linked.algorithm != digest.algorithm:
        return linked
    logger.error("the link of blob %s names %s; treated as absent", digest, linked)
    return None


def use(view: Uses, digest: Digest) -> bool:
    """Tell whether the bytes of `digest` are there, within the check of a change that needs them.

    If they are, whoever was about to collect them notices that they were used.
    """
    found = view.use(paths.blob(digest))
    return found is not None and not _cut_short(digest, found.size)


def _cut_short(digest: Digest, size: int) -> bool:
    """Recognise the empty file that a crash of an older registry left in place of content."""
    if size or digest.is_empty:
        return False
    logger.error("the bytes stored for %s were cut to nothing; treated as absent", digest)
    return True
