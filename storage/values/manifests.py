"""Parses manifests: raw bytes in, references out. The raw bytes are what is stored.

A manifest's type is its `mediaType`; if that is absent or empty, its fields decide. Everything that
both registry:2 and registry:3 accept is accepted, with two exceptions. A document that could be
read as two types is refused (CVE-2021-41190). So is one with a duplicate key, or with a field's
name in another case, because two readers may use different values. Unknown fields are ignored, and
stored with the bytes. Stored manifests are served even if they are invalid
(`storage.values.stored_manifests`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import getsizeof

from storage.errors import DigestInvalid, ManifestInvalid
from storage.values import manifest_fields as fields
from storage.values.cache import DIGEST_BYTES
from storage.values.digest import Digest
from storage.values.json_text import load_as_stored, load_strictly
from storage.values.manifest_fields import Json

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
# Not accepted in a push. Old volumes still hold some, which are served unchanged.
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"

IMAGE_TYPES = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEX_TYPES = frozenset({DOCKER_LIST, OCI_INDEX})
SUPPORTED_TYPES = IMAGE_TYPES | INDEX_TYPES
_DOCKER_TYPES = frozenset({DOCKER_MANIFEST, DOCKER_LIST})

# Media types that a repository stores as manifests, including obsolete ones.
_MANIFEST_TYPES = SUPPORTED_TYPES | {
    DOCKER_SCHEMA1,
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.oci.artifact.manifest.v1+json",
}

# The spec requires at least 4 MB ("Pushing Manifests"), which is distribution's limit too.
MANIFEST_LIMIT = 4 << 20
# The highest limit that can be configured: manifests of this size may be stored.
LARGEST_MANIFEST = 16 << 20

# With these values of Content-Type, the document alone determines its type.
_NO_OPINION = frozenset({"", "application/json"})

# Clients fetch these from their URLs; the registry need not have them.
_NON_DISTRIBUTABLE = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)

# The type of a document without a mediaType, by the first of these fields that it has.
_TYPES = {"manifests": OCI_INDEX, "config": OCI_MANIFEST, "layers": OCI_MANIFEST}
# Its type if it has none of these fields, by schemaVersion, as in registry:2: an index without
# children gets the type of a manifest.
_TYPES_OF_VERSIONS = {1: DOCKER_SCHEMA1, 2: OCI_MANIFEST}

# A document with fields of two of these kinds is ambiguous.
_SHAPES = {
    "config": "a manifest",
    "layers": "a manifest",
    "manifests": "an index",
    "fsLayers": "a schema 1 manifest",
}

_FIELDS = fields.FieldNames.of(
    "schemaVersion", "mediaType", "artifactType", "subject", "annotations", *_SHAPES
)
DESCRIPTOR_FIELDS = fields.FieldNames.of(
    "mediaType", "digest", "size", "urls", "platform", "artifactType", "annotations"
)

# Bytes of an object with three fields, without their values.
_OBJECT_BYTES = 64

_HEADER_SAFE = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Platform:
    """The platform that a child of an index runs on."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content: image-spec, descriptor.md."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_foreign(self) -> bool:
        """Whether clients fetch the content from its URLs, so the repository may lack it."""
        return self.media_type in _NON_DISTRIBUTABLE and any(map(is_http, self.urls))

    @property
    def is_manifest(self) -> bool:
        """Whether the media type, which ignores case, is that of a manifest or an index."""
        return self.media_type.lower() in _MANIFEST_TYPES


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest or index of a supported type."""

    media_type: str
    raw: bytes
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_index(self) -> bool:
        """Whether this lists manifests rather than blobs."""
        return self.media_type in INDEX_TYPES

    def child_kinds(self) -> Mapping[Digest, bool]:
        """Map each child's digest to whether it may be a blob instead of a manifest.

        BuildKit stores a build cache as an index whose children are layers and one config, which
        are uploaded as blobs. A digest that is also listed as a manifest must be a manifest.
        """
        kinds: dict[Digest, bool] = {}
        for child in self.children:
            kinds[child.digest] = kinds.get(child.digest, True) and not child.is_manifest
        return kinds


def is_http(url: str) -> bool:
    """Return whether clients can fetch a layer from a URL."""
    return url.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed: its bytes, their digest, and the media type."""

    digest: Digest
    media_type: str
    raw: bytes

    @property
    def memory(self) -> int:
        """The bytes of memory that it occupies."""
        return getsizeof(self.raw) + getsizeof(self.media_type) + DIGEST_BYTES + _OBJECT_BYTES


def parse_manifest(raw: bytes, content_type: str = "") -> Manifest:
    """Parse a pushed manifest.

    `content_type` is the client's Content-Type without parameters, empty if it sent none. Raises
    `ManifestInvalid`, whose message says which field is wrong and why.
    """
    document = _object(load_strictly(raw))
    media_type = _media_type(document)
    if media_type not in SUPPORTED_TYPES:
        known = ", ".join(sorted(SUPPORTED_TYPES))
        raise ManifestInvalid(
            f"mediaType {fields.shown(media_type)} is not supported, use one of {known}"
        )
    is_index = media_type in INDEX_TYPES
    if content_type not in _NO_OPINION and content_type != media_type:
        is_index = content_type == OCI_INDEX and _lists_nothing(document)
        if not is_index:
            raise ManifestInvalid(
                f"Content-Type is {fields.shown(content_type)}, the document is {media_type!r}"
            )
    _require_version(document)
    _refuse_confusion(document, "an index" if is_index else "a manifest")
    return (_index if is_index else _image)(document, media_type, raw)


def sniff_media_type(raw: bytes) -> str:
    """Return the type of a stored manifest, the one with which registry:2 serves it.

    Accepts everything that older programs accepted when they stored it. Raises `ManifestInvalid`
    for content that is not JSON, or has no type that can be sent in a header.
    """
    return stored_type(stored_document(raw))


def stored_type(document: Json) -> str:
    """Return the type of a document as `sniff_media_type` does."""
    media_type = _media_type(document)
    if not _HEADER_SAFE.fullmatch(media_type):
        raise ManifestInvalid(f"mediaType {fields.shown(media_type)} is not a media type")
    return media_type


def stored_document(raw: bytes) -> Json:
    """Return the fields of a stored manifest as programs in Go read them, ignoring case.

    Raises `ManifestInvalid` when it is not a JSON object.
    """
    try:
        document = _object(load_strictly(raw))
        fields.expect_exact(document, _FIELDS, "the manifest")
    except ManifestInvalid:
        document = fields.folded(_object(load_as_stored(raw, _FIELDS.has)), _FIELDS)
    return document


def _object(document: object) -> Json:
    return fields.expect(document, dict, "the manifest", "an object")


def _media_type(document: Json) -> str:
    declared = fields.text(document, "mediaType")
    if declared:
        return declared
    shape = next((shape for field, shape in _TYPES.items() if fields.has(document, field)), None)
    if shape is not None:
        return shape
    version = document.get("schemaVersion")
    if type(version) is int and version in _TYPES_OF_VERSIONS:
        return _TYPES_OF_VERSIONS[version]
    raise ManifestInvalid("the document is neither a manifest nor an index")


def _lists_nothing(document: Json) -> bool:
    """Return whether no field determines a document's type: it may be an index without children."""
    return not document.get("mediaType") and not any(fields.has(document, key) for key in _SHAPES)


def _require_version(document: Json) -> None:
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise ManifestInvalid("schemaVersion must be 2")


def _refuse_confusion(document: Json, kind: str) -> None:
    fields.expect_exact(document, _FIELDS, "the manifest")
    shapes = {kind, *(shape for field, shape in _SHAPES.items() if fields.has(document, field))}
    if len(shapes) > 1:
        raise ManifestInvalid(f"the document is both {' and '.join(sorted(shapes))}")


def _image(document: Json, media_type: str, raw: bytes) -> Manifest:
    if not fields.has(document, "config"):
        raise ManifestInvalid("config is missing")
    config = _descriptor(document["config"], "config")
    layers = fields.each(document, "layers", _descriptor)
    return Manifest(
        media_type=media_type,
        raw=raw,
        blobs=(config, *layers),
        subject=_subject(document),
        artifact_type=_artifact_type(document) or config.media_type,
        annotations=_own_annotations(document, media_type),
    )


def _index(document: Json, media_type: str, raw: bytes) -> Manifest:
    return Manifest(
        media_type=media_type,
        raw=raw,
        children=fields.each(document, "manifests", _descriptor),
        subject=_subject(document),
        artifact_type=_artifact_type(document),
        annotations=_own_annotations(document, media_type),
    )


def _subject(document: Json) -> Descriptor | None:
    """Return the subject; None when it has no valid digest.

    Older registries ignore the field and accept any value. Without a readable subject the response
    has no OCI-Subject header, so the client maintains the list of referrers itself.
    """
    return readable_subject(document.get("subject"))


def readable_subject(value: object) -> Descriptor | None:
    """Return the subject that `value` describes; None when it has no valid digest."""
    if not isinstance(value, dict):
        return None
    try:
        digest = Digest.parse(fields.readable_text(value, "digest"))
    except DigestInvalid:
        return None
    size = value.get("size")
    return Descriptor(
        media_type=fields.readable_text(value, "mediaType"),
        digest=digest,
        size=size if type(size) is int else 0,
    )


def _artifact_type(document: Json) -> str:
    # Older registries ignore this field and accept any value.
    return fields.readable_text(document, "artifactType")


def _own_annotations(document: Json, media_type: str) -> Mapping[str, str]:
    """Return a document's own annotations; Docker's types do not define the field."""
    if media_type in _DOCKER_TYPES:
        return fields.readable_annotations(document)
    return fields.text_map(document, "annotations")


def _descriptor(value: object, where: str) -> Descriptor:
    document: Json = fields.expect(value, dict, where, "an object")
    fields.expect_exact(document, DESCRIPTOR_FIELDS, where)
    return Descriptor(
        media_type=fields.text(document, "mediaType", where),
        digest=fields.digest(document, where),
        size=fields.size(document, where),
        urls=fields.each(document, "urls", fields.text_or_null, where),
        platform=_platform(document, where),
        artifact_type=fields.text(document, "artifactType", where),
        annotations=fields.text_map(document, "annotations", where),
    )


def _platform(descriptor: Json, where: str) -> Platform | None:
    value = descriptor.get("platform")
    if value is None:
        return None
    path = f"{where}.platform"
    document: Json = fields.expect(value, dict, path, "an object")
    return Platform(
        os=fields.text(document, "os", path),
        architecture=fields.text(document, "architecture", path),
        variant=fields.text(document, "variant", path),
    )
