"""What a manifest needs; what it only may need counts too."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from storage.content.blob_store import read_verified
from storage.drivers.base import Reader
from storage.errors import ManifestInvalid
from storage.values.digest import Digest
from storage.values.manifests import LARGEST_MANIFEST
from storage.values.stored_manifests import Reading, read_stored

logger = logging.getLogger(__name__)

# In JSON any character of a digest may be written as an escape.
_ESCAPE = re.compile(rb"\\u00([2-7][0-9A-Fa-f])")
_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}(?![0-9a-f])|sha512:[0-9a-f]{128}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a manifest names: blobs, other manifests, and its subject, if any."""

    blobs: tuple[Digest, ...]
    children: tuple[Digest, ...]
    subject: Digest | None = None


def read_dependencies(reader: Reader, digest: Digest) -> Dependencies | None:
    """Return what a manifest needs; None when its bytes are missing or damaged.

    Other registries accepted manifests that this one would refuse. Such a document needs everything
    in it that looks like a digest.
    """
    raw = read_verified(reader, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    reading = _read(digest, raw)
    subject = None if reading is None else reading.subject
    if reading is None or reading.doubt is not None:
        named = _named(raw)
        return Dependencies(named, named, subject)
    manifest = reading.manifest
    children = tuple(child.digest for child in manifest.children)
    # An index may list blobs, as the index of a build cache does.
    return Dependencies((*(blob.digest for blob in manifest.blobs), *children), children, subject)


def _read(digest: Digest, raw: bytes) -> Reading | None:
    try:
        reading = read_stored(raw)
    except ManifestInvalid as error:
        logger.info("%s is not a manifest, so all digests in it count: %s", digest, error)
        return None
    if reading.doubt is not None:
        logger.info("%s is doubtful, so all digests in it count: %s", digest, reading.doubt)
    return reading


def _named(raw: bytes) -> tuple[Digest, ...]:
    text = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), raw)
    digests = dict.fromkeys(
        match.decode() for match in (*_DIGEST.findall(raw), *_DIGEST.findall(text))
    )
    return tuple(map(Digest.parse, digests))
