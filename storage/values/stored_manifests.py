"""Parses stored manifests as far as possible.

A volume may hold documents that a push would refuse: with duplicate keys, with keys in another
case, of an obsolete type. They are served unchanged. A collection keeps everything that they refer
to (`storage/maintenance/garbage/mark/dependencies.py`). Their subject is used if it is readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storage.concurrency.large_documents import parse_in_budget
from storage.errors import DigestInvalid, ManifestInvalid
from storage.values.digest import Digest
from storage.values.manifest_fields import Json, folded, readable_annotations, readable_text
from storage.values.manifests import (
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


@dataclass(frozen=True, slots=True)
class Reading:
    """The readable part of a stored manifest.

    `doubt` is the reason why a push would refuse it. If there is one, the manifest's blobs are
    unknown, and its children may be incomplete.
    """

    manifest: Manifest
    doubt: ManifestInvalid | None = None

    @property
    def subject(self) -> Digest | None:
        """The digest of the subject; None without one."""
        return None if self.manifest.subject is None else self.manifest.subject.digest


def read_stored(raw: bytes) -> Reading:
    """Parse a stored manifest; raise `ManifestInvalid` if it is not JSON, or not a manifest."""
    try:
        return Reading(parse_manifest(raw))
    except ManifestInvalid as error:
        return Reading(_as_far_as_possible(raw), error)


async def read(raw: bytes) -> Reading:
    """Parse a stored manifest as `read_stored` does; a large one on a thread, within the budget."""
    return await parse_in_budget(read_stored, raw)


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
