"""What manifests say that the index of referrers should say as well.

A manifest's bytes never change, so what they say is remembered: a second look, under a lock that
pushes wait for, then needs no bytes. Remembered are a subject and a hash for each manifest.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from storage.blobs import read_verified
from storage.digest import Digest
from storage.drivers.base import View
from storage.errors import ManifestInvalid
from storage.manifests import LARGEST_MANIFEST, Manifest
from storage.referrer_entries import describe
from storage.stored_manifests import read_stored

# Manifests that are remembered: more than a page has, so that none is forgotten before its repair.
_MOST = 512


class Said(NamedTuple):
    """What a manifest says: its subject, and a hash of the descriptor that lists of referrers have.

    Both are None where the manifest has none.
    """

    subject: Digest | None
    descriptor: bytes | None


class Readings:
    """What was read last."""

    def __init__(self) -> None:
        self._said: OrderedDict[Digest, Said] = OrderedDict()

    def recall(self, digest: Digest) -> Said | None:
        """Return what a manifest says if it was read lately."""
        return self._said.get(digest)

    def read(self, view: View, digest: Digest) -> Said | None:
        """Return what a manifest says, and remember it; None when its bytes are not here."""
        said = self._said.pop(digest, None) or _read(view, digest)
        if said is not None:
            self._said[digest] = said
        if len(self._said) > _MOST:
            self._said.popitem(last=False)
        return said


def hashed(document: bytes) -> bytes:
    """Return the hash of a descriptor."""
    return hashlib.sha256(document).digest()


def _read(view: View, digest: Digest) -> Said | None:
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        reading = read_stored(raw)
    except ManifestInvalid:
        return Said(None, None)
    return Said(reading.subject, _descriptor(reading.manifest, digest))


def _descriptor(manifest: Manifest, digest: Digest) -> bytes | None:
    try:
        entry = describe(manifest, digest)
    except ManifestInvalid:
        return None
    return None if entry is None else hashed(entry.document)
