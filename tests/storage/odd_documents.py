"""Documents that registry:2 has accepted over the years, and that a push is or was refused for.

Each refers to a config and a layer that are in the repository, and may have a subject.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from storage.values.digest import Digest
from storage.values.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    OCI_INDEX,
    OCI_MANIFEST,
)
from tests.storage.content import CONFIG, LAYER, entry, image

Document: TypeAlias = dict[str, Any]

SUBJECT = json.dumps(image(layers=[b"what the odd ones are about"])).encode()
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True, slots=True)
class Odd:
    """A document, the type it is served with, and whether a push of it is accepted."""

    raw: bytes
    media_type: str = OCI_MANIFEST
    is_taken: bool = False
    has_subject: bool = True

    @property
    def digest(self) -> Digest:
        """The digest of its bytes."""
        return Digest.of(self.raw)


def _image(**more: object) -> Document:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(CONFIG, _CONFIG_TYPE),
        "layers": [entry(LAYER, _LAYER_TYPE)],
        "subject": entry(SUBJECT, OCI_MANIFEST),
        **more,
    }


def _raw(document: Mapping[str, object], text: str = "", then: bytes = b"") -> bytes:
    """Encode a document with more text at its end, and bytes after that."""
    return json.dumps(document)[:-1].encode() + text.encode() + then + b"}"


def _without(document: Document, *path: str | int) -> Document:
    copied: Document = json.loads(json.dumps(document))
    inner: Any = copied
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return copied


def _in_capitals(raw: bytes) -> bytes:
    for name in (b"schemaVersion", b"mediaType", b"config", b"layers", b"digest", b"subject"):
        raw = raw.replace(b'"%s":' % name, b'"%s":' % name.upper())
    return raw


def _schema1() -> bytes:
    layers = [{"blobSum": str(Digest.of(content))} for content in (LAYER, CONFIG)]
    return json.dumps({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": layers}).encode()


def _escaped() -> bytes:
    """Escape some characters of each digest, so that a text search for digests misses them."""
    return _raw(_image(), ',"x":1,"x":2').replace(b'"sha256:', b'"sh\\u0061256\\u003a')


ODD: Mapping[str, Odd] = {
    "a byte that is not UTF-8": Odd(_raw(_image(), ',"x":"', b'\xff"'), is_taken=True),
    "5,000 nested lists": Odd(_raw(_image(), ',"x":' + "[" * 5000 + "]" * 5000), is_taken=True),
    "an empty mediaType": Odd(_raw(_image(mediaType="")), is_taken=True),
    "no size": Odd(_raw(_without(_image(), "layers", 0, "size")), is_taken=True),
    "a null annotation": Odd(_raw(_image(annotations={"a": None})), is_taken=True),
    "an index without manifests": Odd(
        _raw({**_without(_without(_image(mediaType=OCI_INDEX), "config"), "layers")}),
        OCI_INDEX,
        is_taken=True,
    ),
    "keys in another case": Odd(_in_capitals(_raw(_image()))),
    "a key twice": Odd(_raw(_image(), ',"x":1,"x":2')),
    "a mediaType twice": Odd(
        _raw(_image(mediaType="a/b"), f',"mediaType":"{DOCKER_MANIFEST}"'), DOCKER_MANIFEST
    ),
    "layers twice": Odd(_raw(_image(layers=[]), f',"layers":[{json.dumps(entry(LAYER))}]')),
    "escaped digests": Odd(_escaped()),
    "too many values": Odd(_raw(_image(), ',"x":[' + "[]," * 500_000 + "0]"), has_subject=False),
    "an unknown type": Odd(
        _raw(_image(mediaType="application/vnd.x+json")), "application/vnd.x+json"
    ),
    "a manifest and an index": Odd(
        _raw(_image(mediaType=DOCKER_MANIFEST, manifests=[entry(b"of another")])), DOCKER_MANIFEST
    ),
    "a list with layers": Odd(
        _raw(_image(mediaType=DOCKER_LIST, manifests=[entry(CONFIG)])), DOCKER_LIST
    ),
    "schema 1": Odd(_schema1(), DOCKER_SCHEMA1, has_subject=False),
}
