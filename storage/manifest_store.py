"""Manifests by digest: bytes and type, verified when they are read and then remembered.

It knows nothing of repositories; whoever asks has checked membership already. What it remembers
are facts about content, so it may: a cluster's nodes all ask for the same few at once.
"""

from __future__ import annotations

import asyncio
import logging

from storage import paths
from storage.blobs import read_verified
from storage.cache import Lru
from storage.digest import Digest
from storage.drivers.base import Driver, View
from storage.drivers.changes import Put
from storage.errors import ManifestInvalid
from storage.manifests import (
    LARGEST_MANIFEST,
    Manifest,
    StoredManifest,
    parse_manifest,
    sniff_media_type,
)

logger = logging.getLogger(__name__)

CACHE_BYTES = 32 << 20
# Hashing and parsing more than this takes longer than a hop to a thread.
_INLINE = 64 << 10


class ManifestStore:
    """The manifests of one driver's content store."""

    def __init__(self, driver: Driver, cache_bytes: int = CACHE_BYTES) -> None:
        self._driver = driver
        self._known: Lru[Digest, StoredManifest] = Lru(cache_bytes, lambda one: one.memory)

    async def get(self, digest: Digest) -> StoredManifest | None:
        """Return a manifest; None when its bytes are absent, damaged, or no manifest."""
        known = self._known.get(digest)
        if known is None:
            known = await self._driver.batch(lambda view: load(view, digest))
            if known is not None:
                self._known.put(digest, known)
        return known

    def put(self, digest: Digest, manifest: Manifest) -> Put:
        """Return the change that stores a manifest whose bytes hash to `digest`."""
        return Put(paths.blob(digest), manifest.raw)

    def remember(self, digest: Digest, manifest: Manifest) -> None:
        """Have a manifest that was stored at hand; its bytes hash to `digest`."""
        self._known.put(digest, StoredManifest(digest, manifest.media_type, manifest.raw))


def load(view: View, digest: Digest) -> StoredManifest | None:
    """Read a manifest within a batch, past what is remembered."""
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        return StoredManifest(digest, sniff_media_type(raw), raw)
    except ManifestInvalid as error:
        logger.error("%s is linked as a manifest, but it is no manifest: %s", digest, error)
        return None


async def name(raw: bytes, algorithm: str) -> Digest:
    """Hash a manifest, on a thread when it is a large one."""
    if len(raw) <= _INLINE:
        return Digest.of(raw, algorithm)
    return await asyncio.to_thread(Digest.of, raw, algorithm)


async def parse(raw: bytes, content_type: str = "") -> Manifest:
    """Read a manifest as `parse_manifest` does, on a thread when it is a large one."""
    if len(raw) <= _INLINE:
        return parse_manifest(raw, content_type)
    return await asyncio.to_thread(parse_manifest, raw, content_type)
