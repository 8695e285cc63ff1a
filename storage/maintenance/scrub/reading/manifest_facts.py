"""A cache of what manifests say about their subjects, to compare with the referrers index.

The bytes of a manifest never change, so the cache needs no invalidation. Thanks to it a second
look, under a lock that blocks pushes, reads no manifest.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from storage.content.blob_store import read_verified
from storage.drivers.base import Reader
from storage.errors import ManifestInvalid
from storage.values.digest import Digest
from storage.values.manifests import LARGEST_MANIFEST, Manifest
from storage.values.referrer_entries import describe
from storage.values.stored_manifests import read_stored

# Manifests. More than a page has, so that none is evicted before its repair.
_MOST = 512


class Facts(NamedTuple):
    """A manifest's subject, and a hash of its descriptor in lists of referrers, if it has them."""

    subject: Digest | None
    descriptor: bytes | None


class FactsCache:
    """The facts of the manifests that were read last."""

    def __init__(self) -> None:
        self._facts: OrderedDict[Digest, Facts] = OrderedDict()

    def get(self, digest: Digest) -> Facts | None:
        """Return the facts of a manifest that was read lately."""
        return self._facts.get(digest)

    def read(self, reader: Reader, digest: Digest) -> Facts | None:
        """Return the facts of a manifest, and cache them; None when its bytes are missing."""
        facts = self._facts.pop(digest, None) or _read(reader, digest)
        if facts is not None:
            self._facts[digest] = facts
        if len(self._facts) > _MOST:
            self._facts.popitem(last=False)
        return facts


def hashed(document: bytes) -> bytes:
    """Return the hash of a descriptor."""
    return hashlib.sha256(document).digest()


def _read(reader: Reader, digest: Digest) -> Facts | None:
    raw = read_verified(reader, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        reading = read_stored(raw)
    except ManifestInvalid:
        return Facts(None, None)
    return Facts(reading.subject, _descriptor(reading.manifest, digest))


def _descriptor(manifest: Manifest, digest: Digest) -> bytes | None:
    try:
        entry = describe(manifest, digest)
    except ManifestInvalid:
        return None
    return None if entry is None else hashed(entry.document)
