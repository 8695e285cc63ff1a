"""Blobs and manifests to push, made from a seed and reused."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.support.documents import OCI_CONFIG, OCI_LAYER, descriptor
from tests.support.wire import OCI_INDEX, OCI_MANIFEST, sha256

_KIB = 1 << 10
_MIB = 1 << 20
_SIGNATURE = "application/vnd.dev.example.signature.v1+json"


@dataclass(frozen=True, slots=True)
class Blob:
    """A config or layer."""

    digest: str
    data: bytes = field(compare=False, repr=False)

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """Return a blob of some bytes."""
        return cls(sha256(data), data)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image, an index, or a signature of either; the owner of `mark` may delete it."""

    digest: str
    raw: bytes = field(compare=False, repr=False)
    media_type: str = field(compare=False)
    mark: str = field(compare=False)
    blobs: tuple[Blob, ...] = field(compare=False, repr=False, default=())
    children: tuple[Manifest, ...] = field(compare=False, repr=False, default=())
    subject: Manifest | None = field(compare=False, repr=False, default=None)

    def all_blobs(self) -> Iterator[Blob]:
        """Yield the blobs of it and of everything below it, with duplicates."""
        yield from self.blobs
        for child in self.children:
            yield from child.all_blobs()


def image(mark: str, config: Blob, layers: Sequence[Blob]) -> Manifest:
    """Make an image."""
    return _image(mark, config, layers, None)


def signature(subject: Manifest, mark: str, number: int) -> Manifest:
    """Make the signature number `number` of a manifest."""
    payload = Blob.of(f"signature {number} by {mark} of {subject.digest}".encode())
    return _image(mark, Blob.of(b"{}"), [payload], subject)


def index(mark: str, children: Sequence[Manifest]) -> Manifest:
    """Make an index."""
    entries = [descriptor(child.media_type, child.raw) for child in children]
    raw = _document(mark, {"mediaType": OCI_INDEX, "manifests": entries})
    return Manifest(sha256(raw), raw, OCI_INDEX, mark, children=tuple(children))


def _image(mark: str, config: Blob, layers: Sequence[Blob], subject: Manifest | None) -> Manifest:
    body: dict[str, object] = {
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config.data),
        "layers": [descriptor(OCI_LAYER, layer.data) for layer in layers],
    }
    if subject is not None:
        body["artifactType"] = _SIGNATURE
        body["subject"] = descriptor(subject.media_type, subject.raw)
    raw = _document(mark, body)
    blobs = tuple(dict.fromkeys((config, *layers)))
    return Manifest(sha256(raw), raw, OCI_MANIFEST, mark, blobs, subject=subject)


def _document(mark: str, body: dict[str, object]) -> bytes:
    return json.dumps({"schemaVersion": 2, **body, "annotations": {"mark": mark}}).encode()


class Shelf:
    """Images and indexes with the same mark, few enough to be pushed repeatedly."""

    def __init__(self, mark: str, rng: random.Random, others: Sequence[Blob] = ()) -> None:
        sizes = [rng.randint(_KIB, 200 * _KIB) for _ in range(8)]
        self.layers = [Blob.of(rng.randbytes(size)) for size in sizes]
        pool = [*self.layers, *others]
        configs = [Blob.of(json.dumps({"mark": mark, "number": n}).encode()) for n in range(4)]
        self.images = [
            image(mark, rng.choice(configs), rng.sample(pool, rng.randint(1, 4))) for _ in range(10)
        ]
        large = Blob.of(rng.randbytes(rng.randint(2 * _MIB, 4 * _MIB)))
        self.images.append(image(mark, configs[0], [large, rng.choice(pool)]))
        self.indexes = [index(mark, rng.sample(self.images[:10], 3)) for _ in range(4)]
        self.nested = [
            index(mark, [rng.choice(self.indexes), rng.choice(self.images)]) for _ in range(2)
        ]
