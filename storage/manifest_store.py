"""Manifests by digest: bytes and type, verified when they are read and then remembered.

It knows nothing of repositories; whoever asks has checked membership already. What it remembers
are facts about content, so it may: a cluster's nodes all ask for the same few at once. The type of
a large one is remembered for longer than its bytes, which are then read without being parsed.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from sys import getsizeof

from storage import paths
from storage.blobs import read_verified
from storage.cache import DIGEST_BYTES, Lru
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.drivers.changes import Put
from storage.errors import ManifestInvalid
from storage.large_documents import BUDGET, INLINE, parsed
from storage.manifests import (
    LARGEST_MANIFEST,
    Manifest,
    StoredManifest,
    parse_manifest,
    sniff_media_type,
)
from storage.sharing import Run, SharedRuns

logger = logging.getLogger(__name__)

CACHE_BYTES = 32 << 20
# The largest manifest that is accepted by default takes an eighth of that, and a little more.
CACHE_SHARE = 4
_TYPES_BYTES = 2 << 20


class ManifestStore:
    """The manifests of one driver's content store."""

    def __init__(self, driver: Driver, cache_bytes: int = CACHE_BYTES) -> None:
        self._driver = driver
        self._known: Lru[Digest, StoredManifest] = Lru(
            cache_bytes, cost=lambda one: one.memory, share=CACHE_SHARE
        )
        # Of large manifests.
        self._types: Lru[Digest, str] = Lru(
            _TYPES_BYTES, cost=lambda one: DIGEST_BYTES + getsizeof(one)
        )
        self._loads = SharedRuns[Digest, StoredManifest | None]()

    async def get(self, digest: Digest) -> StoredManifest | None:
        """Return a manifest; None when its bytes are absent, damaged, or no manifest.

        Callers that ask for the same large one share the work.
        """
        known = self._known.get(digest)
        if known is not None:
            return known
        found = await self._driver.batch(partial(_load_unless_large, digest=digest))
        if isinstance(found, int):
            return await self._loads.result(digest, partial(self._load_large, digest, found))
        if found is not None:
            self._known.put(digest, found)
        return found

    async def _load_large(
        self, digest: Digest, size: int, run: Run[StoredManifest | None]
    ) -> StoredManifest | None:
        async with BUDGET.of(size):
            run.check()
            known = self._known.get(digest)  # another run may have read it meanwhile
            if known is not None:
                return known
            media_type = self._types.get(digest)
            found = await self._driver.batch(lambda view: load(view, digest, media_type))
        if found is not None:
            self._known.put(digest, found)
            self._types.put(digest, found.media_type)
        return found

    def put(self, digest: Digest, manifest: Manifest) -> Put:
        """Return the change that stores a manifest whose bytes hash to `digest`."""
        return Put(paths.blob(digest), manifest.raw)

    def remember(self, digest: Digest, manifest: Manifest) -> None:
        """Have a manifest that was stored at hand; its bytes hash to `digest`."""
        self._known.put(digest, StoredManifest(digest, manifest.media_type, manifest.raw))


def _load_unless_large(view: View, digest: Digest) -> StoredManifest | int | None:
    """Read a manifest within a batch; of a large one only look how many bytes it has."""
    content = view.stat(paths.blob(digest))
    if content is not None and content.size > INLINE:
        return content.size
    return load(view, digest)


def load(view: View, digest: Digest, media_type: str | None = None) -> StoredManifest | None:
    """Read a manifest within a batch, past what is remembered; `media_type` if that is known."""
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        return StoredManifest(digest, media_type or sniff_media_type(raw), raw)
    except ManifestInvalid as error:
        logger.error("%s is linked as a manifest, but it is no manifest: %s", digest, error)
        return None


async def name(raw: bytes, algorithm: str) -> Digest:
    """Hash a manifest, on a thread when it is a large one."""
    if len(raw) <= INLINE:
        return Digest.of(raw, algorithm)
    return await asyncio.to_thread(Digest.of, raw, algorithm)


async def parse(raw: bytes, content_type: str = "") -> Manifest:
    """Read a manifest as `parse_manifest` does, on a thread and in its turn if it is large."""
    return await parsed(parse_manifest, raw, content_type)
