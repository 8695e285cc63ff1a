"""Manifests: raw bytes in, what they refer to out. The bytes themselves are what is stored.

A type is the document's `mediaType`, or its shape when that is absent. A document that could be
read as two types is refused (CVE-2021-41190), and so is one with a key twice: two readers may
pick different ones. Unknown fields are nobody's business here; they survive because bytes do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from storage.digest import Digest
from storage.errors import DigestInvalid, ManifestInvalid

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
# Never accepted in a push; old volumes still hold some, and they are served as they are.
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"

IMAGE_TYPES = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEX_TYPES = frozenset({DOCKER_LIST, OCI_INDEX})
SUPPORTED_TYPES = IMAGE_TYPES | INDEX_TYPES

# What a descriptor may name that a repository keeps as a manifest, whether or not it can be pushed.
_MANIFEST_TYPES = SUPPORTED_TYPES | {
    DOCKER_SCHEMA1,
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.oci.artifact.manifest.v1+json",
}

# The spec asks registries for at least 4 MB ("Pushing Manifests"); distribution stops there too.
MANIFEST_LIMIT = 4 << 20
# What an operator may have accepted once is read for ever.
LARGEST_MANIFEST = 16 << 20

# The parser keeps the whole process waiting: 4 MiB of brackets take seconds, 4 MiB of descriptors
# have a tenth as many values as this and take a moment.
_MOST_VALUES = 400_000
_MOST_DIGITS = 40

# What a client says when it does not say: the document decides.
_NO_OPINION = frozenset({"", "application/json"})

# Clients fetch these from their URLs; a registry may never have seen them.
_NON_DISTRIBUTABLE = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)

# A document with fields of two of these can be read as two things.
_SHAPES = {
    "config": "a manifest",
    "layers": "a manifest",
    "manifests": "an index",
    "fsLayers": "a schema 1 manifest",
}

_FIELDS = {
    name.casefold(): name
    for name in ("schemaVersion", "mediaType", "artifactType", "subject", "annotations", *_SHAPES)
}
_DESCRIPTOR_FIELDS = {
    name.casefold(): name
    for name in ("mediaType", "digest", "size", "urls", "platform", "artifactType", "annotations")
}

_HEADER_SAFE = re.compile(r"[!-~]+", re.ASCII)

Json: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Platform:
    """Where a child of an index runs."""

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
        """Whether clients fetch this from its URLs, so that it need not be in the repository."""
        return bool(self.urls) and self.media_type in _NON_DISTRIBUTABLE

    @property
    def is_manifest(self) -> bool:
        """Whether the media type is that of a manifest or an index; media types ignore case."""
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
        """Map each child's digest to whether a blob can stand for it.

        BuildKit keeps a build cache as an index whose children are layers and one configuration,
        uploaded as blobs. A digest that is also listed as a manifest has to be one.
        """
        kinds: dict[Digest, bool] = {}
        for child in self.children:
            kinds[child.digest] = kinds.get(child.digest, True) and not child.is_manifest
        return kinds

    def describe(self, digest: Digest) -> Descriptor:
        """Describe this manifest as an entry of a referrers list (spec, "Listing Referrers")."""
        return Descriptor(
            media_type=self.media_type,
            digest=digest,
            size=len(self.raw),
            artifact_type=self.artifact_type,
            annotations=self.annotations,
        )


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed: its bytes, their digest, and the type they are."""

    digest: Digest
    media_type: str
    raw: bytes


def parse_manifest(raw: bytes, content_type: str = "") -> Manifest:
    """Read a pushed manifest.

    `content_type` is what the client declared, without parameters; empty when it declared
    nothing. Raises `ManifestInvalid`, whose message says which field is wrong and why.
    """
    document = _load(raw)
    media_type = _media_type(document)
    if media_type not in SUPPORTED_TYPES:
        known = ", ".join(sorted(SUPPORTED_TYPES))
        raise ManifestInvalid(f"mediaType {media_type!r} is not supported, use one of {known}")
    if content_type not in _NO_OPINION and content_type != media_type:
        raise ManifestInvalid(f"Content-Type is {content_type!r}, the document is {media_type!r}")
    _require_version(document)
    _refuse_confusion(document)
    return (
        _index(document, media_type, raw)
        if media_type in INDEX_TYPES
        else (_image(document, media_type, raw))
    )


def sniff_media_type(raw: bytes) -> str:
    """Tell the type of a manifest that is already stored, forgiving all but unreadable JSON.

    Whoever stored it, perhaps another program years ago, found it valid.
    """
    media_type = _media_type(_load(raw))
    if not _HEADER_SAFE.fullmatch(media_type):
        raise ManifestInvalid(f"mediaType {media_type[:80]!r} is no media type")
    return media_type


def _load(raw: bytes) -> Json:
    try:
        text = raw.decode("utf-8")
        if sum(map(raw.count, b"[{,")) > _MOST_VALUES:
            raise ManifestInvalid("the manifest has too many values")
        document = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_int=_whole_number,
            parse_float=lambda _: 0.0,  # no field is one; only what kind of value it is counts
        )
    except ManifestInvalid:
        raise
    except RecursionError:
        raise ManifestInvalid("the manifest is nested too deeply") from None
    except ValueError as error:
        raise ManifestInvalid(f"the manifest is not JSON: {str(error)[:160]}") from None
    return _expect(document, dict, "the manifest", "an object")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ManifestInvalid("the manifest has a key twice in one object")
    return found


def _whole_number(text: str) -> int:
    # Reading thousands of digits takes long. No field may hold such a number; nor may it hold -1.
    return int(text) if len(text) <= _MOST_DIGITS else -1


def _refuse_constant(name: str) -> None:
    raise ManifestInvalid(f"{name} is not JSON")


def _media_type(document: Json) -> str:
    declared = document.get("mediaType")
    if declared is not None:
        return _expect(declared, str, "mediaType", "a string")
    if "manifests" in document:
        return OCI_INDEX
    if "config" in document or "layers" in document:
        return OCI_MANIFEST
    if document.get("schemaVersion") == 1:
        return DOCKER_SCHEMA1
    raise ManifestInvalid("the document is neither a manifest nor an index")


def _require_version(document: Json) -> None:
    version = document.get("schemaVersion")
    if type(version) is not int or version != 2:
        raise ManifestInvalid("schemaVersion must be 2")


def _refuse_confusion(document: Json) -> None:
    _expect_exact(document, _FIELDS, "the manifest")
    shapes = {shape for field, shape in _SHAPES.items() if field in document}
    if len(shapes) > 1:
        raise ManifestInvalid(f"the document is {' and '.join(sorted(shapes))} at once")


def _image(document: Json, media_type: str, raw: bytes) -> Manifest:
    if "config" not in document:
        raise ManifestInvalid("config is missing")
    config = _descriptor(document["config"], "config")
    layers = _each(document, "layers", _descriptor)
    return Manifest(
        media_type=media_type,
        raw=raw,
        blobs=(config, *layers),
        subject=_subject(document),
        artifact_type=_text(document, "artifactType", "artifactType") or config.media_type,
        annotations=_annotations(document, "annotations"),
    )


def _index(document: Json, media_type: str, raw: bytes) -> Manifest:
    if "manifests" not in document:
        raise ManifestInvalid("manifests is missing")
    return Manifest(
        media_type=media_type,
        raw=raw,
        children=_each(document, "manifests", _descriptor),
        subject=_subject(document),
        artifact_type=_text(document, "artifactType", "artifactType"),
        annotations=_annotations(document, "annotations"),
    )


def _subject(document: Json) -> Descriptor | None:
    subject = document.get("subject")
    return None if subject is None else _descriptor(subject, "subject")


def _descriptor(value: object, where: str) -> Descriptor:
    document: Json = _expect(value, dict, where, "an object")
    _expect_exact(document, _DESCRIPTOR_FIELDS, where)
    size = document.get("size")
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise ManifestInvalid(f"{where}.size must be a whole number of bytes")
    return Descriptor(
        media_type=_text(document, "mediaType", f"{where}.mediaType"),
        digest=_digest(document, where),
        size=size,
        urls=_each(document, "urls", _url, where),
        platform=_platform(document.get("platform"), f"{where}.platform"),
        artifact_type=_text(document, "artifactType", f"{where}.artifactType"),
        annotations=_annotations(document, f"{where}.annotations"),
    )


def _digest(document: Json, where: str) -> Digest:
    text: str = _expect(document.get("digest"), str, f"{where}.digest", "a string")
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{where}.digest: {error}") from None


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    document: Json = _expect(value, dict, where, "an object")
    return Platform(
        os=_text(document, "os", f"{where}.os"),
        architecture=_text(document, "architecture", f"{where}.architecture"),
        variant=_text(document, "variant", f"{where}.variant"),
    )


def _annotations(document: Json, where: str) -> Mapping[str, str]:
    value = document.get("annotations")
    found: Json = _expect({} if value is None else value, dict, where, "an object")
    for key, value in found.items():
        _expect(value, str, f"{where}[{key!r}]", "a string")
    return found


def _each(
    document: Json, key: str, read: Callable[[object, str], T], where: str = ""
) -> tuple[T, ...]:
    # Go programs write a nil slice as null; an absent list is as good as an empty one.
    path = f"{where}.{key}" if where else key
    values: Iterable[object] = _expect(
        [] if document.get(key) is None else document[key], list, path, "a list"
    )
    return tuple(read(value, f"{path}[{at}]") for at, value in enumerate(values))


def _url(value: object, where: str) -> str:
    return _expect(value, str, where, "a string")


def _text(document: Json, key: str, where: str) -> str:
    value = document.get(key)
    return "" if value is None else _expect(value, str, where, "a string")


def _expect_exact(document: Json, fields: Mapping[str, str], where: str) -> None:
    """Refuse a key that differs from a field's name in case only: programs in Go read it too."""
    for key in document:
        if fields.get(key.casefold(), key) != key:
            raise ManifestInvalid(f"{where} has the key {key!r}, which is not quite a field's name")


def _expect(value: object, kind: type[T], where: str, expected: str) -> T:
    if not isinstance(value, kind):
        raise ManifestInvalid(f"{where} must be {expected}")
    return value
