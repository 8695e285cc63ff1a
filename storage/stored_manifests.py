"""Manifests that are stored already, read as far as they can be.

A volume may hold documents that a push is refused for today: with a key twice, with keys in
another case, of a type that no registry takes any more. They are served as they are. What else is
asked of them is answered carefully: what a collection keeps for them is all that they name
(`storage.maintenance.garbage.needs`), their subject is found where it can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from storage.digest import Digest
from storage.errors import DigestInvalid, ManifestInvalid
from storage.manifest_fields import Json, folded, readable_annotations, readable_text
from storage.manifests import (
    DESCRIPTOR_FIELDS,
    INDEX_TYPES,
    Descriptor,
    Manifest,
    Platform,
    parse_manifest,
    readable_subject,
    stored_document,
    stored_type,
)

# Parsing more than this takes longer than a hop to a thread.
_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read of a stored manifest.

    Where there is a `doubt`, the reason why a push of it is refused, the manifest's blobs are not
    known and its children may not be all.
    """

    manifest: Manifest
    doubt: ManifestInvalid | None = None

    @property
    def subject(self) -> Digest | None:
        """The digest of the subject, if there is one."""
        return None if self.manifest.subject is None else self.manifest.subject.digest


def read_stored(raw: bytes) -> Reading:
    """Read a stored manifest; raise `ManifestInvalid` when it is none, whatever one expects."""
    try:
        return Reading(parse_manifest(raw))
    except ManifestInvalid as error:
        return Reading(_as_far_as_possible(raw), error)


async def read(raw: bytes) -> Reading:
    """Read a stored manifest as `read_stored` does, on a thread when it is a large one."""
    if len(raw) <= _INLINE:
        return read_stored(raw)
    return await asyncio.to_thread(read_stored, raw)


def _as_far_as_possible(raw: bytes) -> Manifest:
    document = stored_document(raw)
    media_type = stored_type(document)
    config = _descriptor(document.get("config"))
    return Manifest(
        media_type=media_type,
        raw=raw,
        children=tuple(_children(document)) if media_type in INDEX_TYPES else (),
        subject=readable_subject(_descriptor(document.get("subject"))),
        artifact_type=readable_text(document, "artifactType") or readable_text(config, "mediaType"),
        annotations=readable_annotations(document),
    )


def _children(document: Json) -> Iterator[Descriptor]:
    children = document.get("manifests")
    for child in map(_descriptor, children if isinstance(children, list) else ()):
        try:
            digest = Digest.parse(readable_text(child, "digest"))
        except DigestInvalid:
            continue
        yield Descriptor(
            media_type=readable_text(child, "mediaType"),
            digest=digest,
            size=0,
            platform=_platform(child.get("platform")),
        )


def _descriptor(value: object) -> Json:
    return folded(value, DESCRIPTOR_FIELDS) if isinstance(value, dict) else {}


def _platform(value: object) -> Platform | None:
    if not isinstance(value, dict):
        return None
    return Platform(*(readable_text(value, key) for key in ("os", "architecture", "variant")))
