"""Content negotiation: which manifest a client gets for its Accept (RFC 9110 section 12.5.1).

Without Accept, or with `*/*` or `application/*`, a client gets the stored manifest. A client that
does not accept an index, and requests a tag, gets the index's image of the default platform, as
from CNCF distribution. A Docker manifest is always served, because every client reads it. In all
other cases the error message names the media type to accept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from storage.errors import ManifestInvalid, ManifestUnknown
from storage.interfaces import Manifests
from storage.values.cache import DIGEST_BYTES, Lru
from storage.values.digest import Digest
from storage.values.manifests import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    IMAGE_TYPES,
    INDEX_TYPES,
    Descriptor,
    StoredManifest,
)
from storage.values.names import Reference, Tag
from storage.values.stored_manifests import read

DEFAULT_PLATFORM = ("linux", "amd64")
# Characters; longer headers are not cached. Parsed, each character can take fifty bytes of memory.
_SHORT = 1024
# Clients send about five. A header of 64 KiB has 32,000 ranges, and parsing them takes 13 ms.
_MOST_RANGES = 256
_MOST_PARAMETERS = 16
_CHILD_BYTES = 2 * DIGEST_BYTES + 64
_ALWAYS_SERVED = frozenset({DOCKER_MANIFEST, DOCKER_SCHEMA1})


@dataclass(frozen=True, slots=True)
class Accept:
    """The media ranges of a client's Accept, each accepted (True) or excluded (False)."""

    ranges: Mapping[str, bool]

    def allows(self, media_type: str) -> bool:
        """Return whether `media_type` is accepted; the most specific range that matches decides."""
        if not self.ranges:
            return True
        for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
            if candidate in self.ranges:
                return self.ranges[candidate]
        return False


def parse_accept(headers: tuple[str, ...]) -> Accept:
    """Parse all Accept headers of a request as one list.

    Malformed ranges are ignored, as are ranges after the first _MOST_RANGES, and parameters after
    the first _MOST_PARAMETERS of a range.
    """
    ranges: dict[str, bool] = {}
    for item in ",".join(headers).split(",", _MOST_RANGES)[:_MOST_RANGES]:
        parts = item.lower().split(";", _MOST_PARAMETERS)[:_MOST_PARAMETERS]
        media_range, *parameters = (part.strip() for part in parts)
        if media_range:
            ranges[media_range] = not _is_excluded(parameters)
    return Accept(ranges)


def _is_excluded(parameters: list[str]) -> bool:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return value.strip() != "" and not value.strip().strip("0.")
    return False


class Negotiator:
    """Chooses manifests that clients accept; caches parsed headers and the children of indexes."""

    def __init__(self) -> None:
        self._parse_cached = lru_cache(maxsize=256)(parse_accept)
        self._default_children: Lru[Digest, tuple[Digest | None]] = Lru(
            8 << 20, cost=lambda _: _CHILD_BYTES
        )

    def accept(self, headers: tuple[str, ...]) -> Accept:
        """Parse all Accept headers of a request."""
        # Nearly all clients send one of a few short lists.
        is_short = sum(map(len, headers)) <= _SHORT
        return self._parse_cached(headers) if is_short else parse_accept(headers)

    async def choose(
        self, manifests: Manifests, reference: Reference, accept: Accept
    ) -> StoredManifest:
        """Return the form of a manifest that the client accepts, or raise `ManifestUnknown`."""
        stored = await manifests.get(reference)
        if accept.allows(stored.media_type):
            return stored
        if stored.media_type in INDEX_TYPES and isinstance(reference, Tag):
            child = await self._default_image(manifests, stored, accept)
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
        self, manifests: Manifests, index: StoredManifest, accept: Accept
    ) -> StoredManifest | None:
        if not any(map(accept.allows, IMAGE_TYPES)):
            return None
        try:
            digest = await self._default_child(index)
            child = None if digest is None else await manifests.get(digest)
        except (ManifestInvalid, ManifestUnknown):
            return None
        if child is None or not (
            child.media_type in _ALWAYS_SERVED or accept.allows(child.media_type)
        ):
            return None
        return child

    async def _default_child(self, index: StoredManifest) -> Digest | None:
        """Return the child for the default platform; the children of a digest never change."""
        cached = self._default_children.get(index.digest)
        if cached is None:
            matching = filter(_is_default, (await read(index.raw)).manifest.children)
            cached = (next((child.digest for child in matching), None),)
            self._default_children.put(index.digest, cached)
        return cached[0]


def _is_default(child: Descriptor) -> bool:
    platform = child.platform
    return platform is not None and (platform.os, platform.architecture) == DEFAULT_PLATFORM
