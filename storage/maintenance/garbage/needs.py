"""What one manifest of a repository needs, read so that nothing it may need is overlooked."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from storage.blobs import read_verified
from storage.digest import Digest
from storage.drivers.base import View
from storage.errors import ManifestInvalid
from storage.manifests import LARGEST_MANIFEST, parse_manifest

logger = logging.getLogger(__name__)

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}(?![0-9a-f])|sha512:[0-9a-f]{128}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a manifest names: blobs, other manifests, and the one it is about, if any."""

    blobs: tuple[Digest, ...]
    children: tuple[Digest, ...]
    subject: Digest | None = None


def read_needs(view: View, digest: Digest) -> Needs | None:
    """Return what a manifest needs; None when its bytes are absent or damaged, so nobody can tell.

    Registries before this one took manifests that this one would refuse. What such a document
    needs is everything in it that looks like a digest.
    """
    raw = read_verified(view, digest, LARGEST_MANIFEST)
    if raw is None:
        return None
    try:
        manifest = parse_manifest(raw)
    except ManifestInvalid as error:
        logger.info(
            "%s is read as a list of digests, as it is no valid manifest: %s", digest, error
        )
        named = _named(raw)
        return Needs(named, named)
    children = tuple(child.digest for child in manifest.children)
    return Needs(
        # An index may list blobs: build caches are kept so.
        (*(blob.digest for blob in manifest.blobs), *children),
        children,
        manifest.subject.digest if manifest.subject else None,
    )


def _named(raw: bytes) -> tuple[Digest, ...]:
    found = dict.fromkeys(match.decode("ascii") for match in _DIGEST.findall(raw))
    return tuple(map(Digest.parse, found))
