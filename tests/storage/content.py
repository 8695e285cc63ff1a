"""Small pushes, made only through the interfaces."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from storage.interfaces import Repository
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.manifests import OCI_INDEX, OCI_MANIFEST, parse_manifest
from storage.values.names import RepositoryName, Tag, UploadId
from tests.storage.streams import joined, stream_of

APP = RepositoryName("library/app")
OTHER = RepositoryName("other")
CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYER = b"a layer, or so" * 100


def name(text: str) -> RepositoryName:
    """Make a repository's name."""
    return RepositoryName.parse(text)


def tags(*texts: str) -> tuple[Tag, ...]:
    """Make tags."""
    return tuple(map(Tag.parse, texts))


def entry(content: bytes, media_type: str = "application/octet-stream") -> dict[str, object]:
    """Make a descriptor of some content."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def image(layers: Sequence[bytes] = (LAYER,), **more: object) -> dict[str, object]:
    """Make an OCI manifest; `more` adds fields."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": entry(CONFIG, "application/vnd.oci.image.config.v1+json"),
        "layers": [entry(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
        **more,
    }


def index(children: Sequence[bytes], **more: object) -> dict[str, object]:
    """Make an OCI index; `more` adds fields."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry(child, OCI_MANIFEST) for child in children],
        **more,
    }


def raw(document: Mapping[str, object]) -> bytes:
    """Encode a document."""
    return json.dumps(document).encode()


async def begin(repository: Repository, *pieces: bytes, algorithm: str = "sha256") -> UploadId:
    """Start an upload and append each piece in a request of its own."""
    id = await repository.uploads.start(algorithm)
    for piece in pieces:
        await append(repository, id, piece)
    return id


async def append(repository: Repository, id: UploadId, *pieces: bytes) -> None:
    """Append to an upload in one request without a declared length."""
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(*pieces), DeclaredRange())


async def finish(repository: Repository, id: UploadId, digest: Digest) -> None:
    """Commit an upload in a request of its own."""
    async with repository.uploads.open(id) as session:
        await session.commit(digest)


async def push_blob(repository: Repository, content: bytes, algorithm: str = "sha256") -> Digest:
    """Push a blob in one request."""
    digest = Digest.of(content, algorithm)
    id = await repository.uploads.start(algorithm)
    async with repository.uploads.open(id) as session:
        await session.append(stream_of(content), DeclaredRange())
        await session.commit(digest)
    return digest


async def push_manifest(
    repository: Repository, document: Mapping[str, object], *texts: str, algorithm: str = "sha256"
) -> Digest:
    """Push a manifest under its digest and tags; the content it refers to exists already."""
    content = raw(document)
    digest = Digest.of(content, algorithm)
    await repository.manifests.put(parse_manifest(content), digest, tags(*texts))
    return digest


async def push_image(
    repository: Repository, *texts: str, layer: bytes = LAYER, **more: object
) -> Digest:
    """Push a whole image under tags; `more` adds fields to its manifest."""
    await push_blob(repository, CONFIG)
    await push_blob(repository, layer)
    return await push_manifest(repository, image(layers=[layer], **more), *texts)


async def pull_blob(repository: Repository, digest: Digest) -> bytes:
    """Read a whole blob."""
    blob = await repository.blobs.open(digest)
    try:
        return await joined(blob.stream(0, blob.size))
    finally:
        await blob.close()
