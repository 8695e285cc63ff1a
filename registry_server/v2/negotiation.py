"""Accept: which form of a manifest a client gets (RFC 9110 section 12.5.1, and habits of clients).

Absent, `*/*` and `application/*` mean what is stored. A client that can't read an index and asked
by tag gets the image of the default platform out of it, as it would from CNCF distribution. A
Docker manifest is served whatever the client says: every client reads it. For all else a client
is told what it should have accepted, because a bare 404 has puzzled people for years.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from storage.cache import DIGEST_BYTES, Lru
from storage.digest import Digest
from storage.errors import ManifestInvalid, ManifestUnknown
from storage.interfaces import Manifests
from storage.manifests import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    IMAGE_TYPES,
    INDEX_TYPES,
    Descriptor,
    StoredManifest,
)
from storage.names import Reference, Tag
from storage.stored_manifests import read

DEFAULT_PLATFORM = ("linux", "amd64")
# Characters of the headers that are remembered. Parsed, each can take fifty bytes of memory.
_SHORT = 1024
# Clients send five or so. A header of 64 KiB has 32,000 ranges, and reading them takes 13 ms.
_MOST_RANGES = 256
_MOST_PARAMETERS = 16
_CHILD_BYTES = 2 * DIGEST_BYTES + 64
_default_children: Lru[Digest, tuple[Digest | None]] = Lru(8 << 20, cost=lambda _: _CHILD_BYTES)
_ALWAYS_SERVED = frozenset({DOCKER_MANIFEST, DOCKER_SCHEMA1})


@dataclass(frozen=True, slots=True)
class Accept:
    """What a client accepts: media ranges, each accepted or excluded."""

    ranges: Mapping[str, bool]

    def allows(self, media_type: str) -> bool:
        """Tell whether `media_type` is acceptable; the most specific range that fits decides."""
        if not self.ranges:
            return True
        for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            if candidate in self.ranges:
                return self.ranges[candidate]
        return False


def parse_accept(headers: tuple[str, ...]) -> Accept:
    """Read all Accept headers of a request as one list; what makes no sense is passed over.

    So is what lies behind the first _MOST_RANGES, and behind so many parameters of a range.
    """
    # Clients send one of a few short lists; what is longer is not worth remembering.
    return _remembered(headers) if sum(map(len, headers)) <= _SHORT else _parse(headers)


def _parse(headers: tuple[str, ...]) -> Accept:
    ranges: dict[str, bool] = {}
    for item in ",".join(headers).split(",", _MOST_RANGES)[:_MOST_RANGES]:
        parts = item.lower().split(";", _MOST_PARAMETERS)[:_MOST_PARAMETERS]
        media_range, *parameters = (part.strip() for part in parts)
        if media_range:
            ranges[media_range] = not _is_excluded(parameters)
    return Accept(ranges)


_remembered = lru_cache(maxsize=256)(_parse)


def _is_excluded(parameters: list[str]) -> bool:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return value.strip() != "" and not value.strip().strip("0.")
    return False


async def choose(manifests: Manifests, reference: Reference, accept: Accept) -> StoredManifest:
    """Return what `reference` names in a form the client accepts; raise `ManifestUnknown`."""
    stored = await manifests.get(reference)
    if accept.allows(stored.media_type):
        return stored
    if stored.media_type in INDEX_TYPES and isinstance(reference, Tag):
        child = await _default_image(manifests, stored, accept)
        if child is not None:
            return child
    if stored.media_type in _ALWAYS_SERVED:
        return stored
    raise ManifestUnknown(
        reference,
        f"{reference} is stored as {stored.media_type}, which the request does not accept; "
        f"send the header Accept: {stored.media_type}",
    )


async def _default_image(
    manifests: Manifests, index: StoredManifest, accept: Accept
) -> StoredManifest | None:
    if not any(map(accept.allows, IMAGE_TYPES)):
        return None
    try:
        digest = await _default_child(index)
        child = None if digest is None else await manifests.get(digest)
    except (ManifestInvalid, ManifestUnknown):
        return None
    if child is None or not (child.media_type in _ALWAYS_SERVED or accept.allows(child.media_type)):
        return None
    return child


async def _default_child(index: StoredManifest) -> Digest | None:
    """Return the child for the default platform; what an index lists never changes."""
    known = _default_children.get(index.digest)
    if known is None:
        fitting = filter(_is_default, (await read(index.raw)).manifest.children)
        known = (next((child.digest for child in fitting), None),)
        _default_children.put(index.digest, known)
    return known[0]


def _is_default(child: Descriptor) -> bool:
    platform = child.platform
    return platform is not None and (platform.os, platform.architecture) == DEFAULT_PLATFORM
