"""Manifests by digest: their bytes and media type, verified when they are read and then cached.

It knows no repositories; callers have already checked membership. Content may be cached, and should
be: the nodes of a cluster all pull the same few manifests. The type of a large manifest stays
cached longer than its bytes, which then need not be parsed when they are read again.
"""

from __future__ import annotations

import logging
from functools import partial
from sys import getsizeof

from storage.concurrency.large_documents import BUDGET, INLINE
from storage.concurrency.sharing import Run, SharedRuns
from storage.content.blob_store import read_verified
from storage.drivers.base import Driver, Reader
from storage.drivers.changes import Put
from storage.errors import ManifestInvalid
from storage.values import paths
from storage.values.cache import DIGEST_BYTES, Lru
from storage.values.digest import Digest
from storage.values.manifests import (
    LARGEST_MANIFEST,
    Manifest,
    StoredManifest,
    sniff_media_type,
)

logger = logging.getLogger(__name__)

CACHE_BYTES = 32 << 20
# The largest manifest accepted by default takes a little more than an eighth of that.
CACHE_SHARE = 4
_TYPES_BYTES = 2 << 20


class ManifestStore:
    """The manifests of one driver's content store."""

    def __init__(self, driver: Driver, cache_bytes: int = CACHE_BYTES) -> None:
        self._driver = driver
        self._cache: Lru[Digest, StoredManifest] = Lru(
            cache_bytes, cost=lambda manifest: manifest.memory, share=CACHE_SHARE
        )
        # The media types of large manifests.
        self._types: Lru[Digest, str] = Lru(
            _TYPES_BYTES, cost=lambda media_type: DIGEST_BYTES + getsizeof(media_type)
        )
        self._loads = SharedRuns[Digest, StoredManifest | None]()

    async def get(self, digest: Digest) -> StoredManifest | None:
        """Return a manifest; None when its bytes are missing, damaged or not a manifest.

        Concurrent calls for the same large manifest share the work.
        """
        cached = self._cache.get(digest)
        if cached is not None:
            return cached
        loaded = await self._driver.batch(partial(_load_unless_large, digest=digest))
        if isinstance(loaded, int):
            return await self._loads.result(digest, partial(self._load_large, digest, loaded))
        if loaded is not None:
            self._cache.put(digest, loaded)
        return loaded

    async def _load_large(
        self, digest: Digest, size: int, run: Run[StoredManifest | None]
    ) -> StoredManifest | None:
        async with BUDGET.of(size):
            run.check()
            cached = self._cache.get(digest)  # another run may have loaded it meanwhile
            if cached is not None:
                return cached
            media_type = self._types.get(digest)
            loaded = await self._driver.batch(lambda reader: load(reader, digest, media_type))
        if loaded is not None:
            self._cache.put(digest, loaded)
            self._types.put(digest, loaded.media_type)
        return loaded

    def put_change(self, digest: Digest, manifest: Manifest) -> Put:
        """Return the change that stores a manifest whose bytes hash to `digest`."""
        return Put(paths.blob(digest), manifest.raw)

    def remember(self, digest: Digest, manifest: Manifest) -> None:
        """Cache a manifest that was stored; its bytes hash to `digest`."""
        self._cache.put(digest, StoredManifest(digest, manifest.media_type, manifest.raw))


def _load_unless_large(reader: Reader, digest: Digest) -> StoredManifest | int | None:
    """Load a manifest within a batch, or return the size of a large one."""
    info = reader.stat(paths.blob(digest))
    if info is not None and info.size > INLINE:
        return info.size
    return load(reader, digest)


def load(reader: Reader, digest: Digest, media_type: str | None = None) -> StoredManifest | None:
    """Load a manifest within a batch, bypassing the cache; pass `media_type` if it is known."""
    raw = read_verified(reader, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        return StoredManifest(digest, media_type or sniff_media_type(raw), raw)
    except ManifestInvalid as error:
        logger.error("%s is linked as a manifest, but is not a valid manifest: %s", digest, error)
        return None
