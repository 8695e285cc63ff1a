"""Hashes and parses the manifests that clients push, large ones on a thread."""

from __future__ import annotations

import asyncio

from storage.concurrency.large_documents import INLINE, parse_in_budget
from storage.values.digest import Digest
from storage.values.manifests import Manifest, parse_manifest


async def digest_of(raw: bytes, algorithm: str) -> Digest:
    """Return the digest of a manifest; large ones are hashed on a thread."""
    if len(raw) <= INLINE:
        return Digest.of(raw, algorithm)
    return await asyncio.to_thread(Digest.of, raw, algorithm)


async def parse(raw: bytes, content_type: str = "") -> Manifest:
    """Parse a manifest as `parse_manifest` does; large ones on a thread, within the budget."""
    return await parse_in_budget(parse_manifest, raw, content_type)
