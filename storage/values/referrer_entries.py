"""Entries of a list of referrers: a manifest's descriptor as JSON (image-spec, descriptor.md).

The same bytes are sent to clients, stored beside the link in `_referrers`, and cached in memory. So
the length of entries bounds pages, files and caches.

The spec requires entries to carry the manifest's annotations. If there are too many, or they are
too long, all of them are left out: a client that saw some would take the others for absent. It can
read them from the manifest. A page of entries with the longest annotations has 48 entries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from sys import getsizeof

from storage.values.cache import DIGEST_BYTES
from storage.values.digest import Digest
from storage.values.manifests import Manifest

MOST_ANNOTATIONS = 256
# Bytes of the annotations as JSON.
LONGEST_ANNOTATIONS = 64 << 10
# Characters. RFC 6838, section 4.2, allows 255, without parameters.
LONGEST_TYPE = 1024
# Bytes of an entry; each character of its two types may need an escape of six bytes.
LONGEST_ENTRY = LONGEST_ANNOTATIONS + 2 * 6 * LONGEST_TYPE + 1024

# Bytes of the object, without its digest and its other values.
_OBJECT_BYTES = 64
_TEXTS = frozenset({"mediaType", "artifactType"})
_REQUIRED = frozenset({"mediaType", "digest", "size"})
_FIELDS = _REQUIRED | {"artifactType", "annotations"}


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that has a subject; `document` is its descriptor as JSON."""

    digest: Digest
    artifact_type: str
    document: bytes

    @property
    def memory(self) -> int:
        """The bytes of memory that it occupies."""
        values = getsizeof(self.document) + getsizeof(self.artifact_type)
        return values + DIGEST_BYTES + _OBJECT_BYTES


def describe(manifest: Manifest, digest: Digest) -> Referrer | None:
    """Return the entry of a manifest (spec, "Listing Referrers"); None if its type is too long.

    A manifest that another registry stored may have a media type of any length.
    """
    if len(manifest.media_type) > LONGEST_TYPE:
        return None
    size = len(manifest.raw)
    return _entry(digest, manifest.media_type, size, manifest.artifact_type, manifest.annotations)


def parse(document: bytes, digest: Digest) -> Referrer | None:
    """Parse the stored entry of `digest`; None if it is damaged, as after a power cut."""
    try:
        fields = json.loads(document)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or not _is_entry(fields, digest):
        return None
    kind, annotations = fields.get("artifactType", ""), fields.get("annotations", {})
    return _entry(digest, fields["mediaType"], fields["size"], kind, annotations)


def _is_entry(fields: Mapping[str, object], digest: Digest) -> bool:
    if not _REQUIRED <= fields.keys() <= _FIELDS or fields["digest"] != str(digest):
        return False
    annotations = fields.get("annotations", {})
    return (
        all(isinstance(fields.get(key, ""), str) for key in _TEXTS)
        and type(fields["size"]) is int
        and isinstance(annotations, dict)
        and all(isinstance(value, str) for value in annotations.values())
    )


def _entry(
    digest: Digest, media_type: str, size: int, artifact_type: str, annotations: Mapping[str, str]
) -> Referrer:
    fields: dict[str, object] = {"mediaType": media_type, "digest": str(digest), "size": size}
    kind = artifact_type if len(artifact_type) <= LONGEST_TYPE else ""
    if kind:
        fields["artifactType"] = kind
    document = _encoded(fields)
    listed = _encoded(annotations) if 0 < len(annotations) <= MOST_ANNOTATIONS else b""
    if 0 < len(listed) <= LONGEST_ANNOTATIONS:
        document = b'%b,"annotations":%b}' % (document[:-1], listed)
    return Referrer(digest, kind, document)


def _encoded(value: object) -> bytes:
    # Without escapes, Cyrillic text is a third as long. A lone surrogate, which UTF-8 cannot
    # encode, becomes the escape as which it was pushed.
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")
