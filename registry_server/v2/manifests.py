"""Manifests: pull, check, push, delete (spec, "Pulling manifests", "Pushing Manifests",
"Deleting tags", "Deleting Manifests").
"""

from __future__ import annotations

from functools import lru_cache

from starlette.requests import Request

from registry_server.access.interfaces import Action
from registry_server.http.response import Response
from registry_server.v2.gate import Gate
from registry_server.v2.manifest_bodies import ManifestBodies
from registry_server.v2.negotiation import Negotiator
from registry_server.v2.refusals import TooManyTags
from registry_server.v2.responses import (
    EncodedHeaders,
    EncodedResponse,
    content_headers,
    encoded,
    header_values,
    not_modified,
)
from registry_server.v2.urls import Urls
from storage.errors import DigestInvalid
from storage.values.digest import CANONICAL, Digest
from storage.values.manifests import MANIFEST_LIMIT
from storage.values.names import Reference, Tag, parse_reference
from storage.values.pushed_manifests import digest_of, parse

# The spec requires at least 10; each tag costs a few durable writes.
MOST_TAGS = 100


class ManifestEndpoints:
    """`/v2/<name>/manifests/<reference>`"""

    def __init__(self, gate: Gate, urls: Urls, largest: int = MANIFEST_LIMIT) -> None:
        """`largest` is the size limit of pushed manifests in bytes."""
        self._gate = gate
        self._urls = urls
        self._bodies = ManifestBodies(largest)
        self._negotiator = Negotiator()

    async def get(self, request: Request) -> Response:
        """GET, HEAD: end-3"""
        repository = await self._gate.repository(request, Action.PULL)
        reference = _reference(request)
        accept = self._negotiator.accept(header_values(request, b"accept"))
        manifest = await self._negotiator.choose(repository.manifests, reference, accept)
        if not_modified(request, manifest.digest):
            return Response(status_code=304, headers=_headers(manifest.digest))
        headers = _encoded_headers(manifest.digest, manifest.media_type, len(manifest.raw))
        return EncodedResponse(manifest.raw, headers)

    async def put(self, request: Request) -> Response:
        """PUT: end-7a, end-7b"""
        repository = await self._gate.repository_for_push(request)
        reference = _reference(request)
        tags = _tags(request, reference)
        async with self._bodies.body(request) as raw:
            digest = await _digest(raw, reference)
            manifest = await parse(raw, _content_type(request))
            await repository.manifests.put(manifest, digest, tags)
        headers = {
            "Location": self._urls.manifest(request, repository.name, digest),
            "Docker-Content-Digest": str(digest),
            "Content-Length": "0",
        }
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject.digest)
        if tags and isinstance(reference, Digest):
            headers["OCI-Tag"] = ", ".join(map(str, tags))
        return Response(status_code=201, headers=headers)

    async def delete(self, request: Request) -> Response:
        """DELETE: end-9"""
        repository = await self._gate.repository(request, Action.DELETE)
        reference = _reference(request)
        if isinstance(reference, Tag):
            await repository.tags.delete(reference)
        else:
            await repository.manifests.delete(reference)
        return Response(status_code=202, headers={"Content-Length": "0"})


def _headers(digest: Digest) -> dict[str, str]:
    return content_headers(digest) | {"Vary": "Accept"}


@lru_cache(maxsize=1024)
def _encoded_headers(digest: Digest, media_type: str, length: int) -> EncodedHeaders:
    return encoded(_headers(digest) | {"Content-Type": media_type, "Content-Length": str(length)})


def _reference(request: Request) -> Reference:
    return parse_reference(request.path_params["reference"])


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _tags(request: Request, reference: Reference) -> tuple[Tag, ...]:
    """Return the tags that a push sets: the one in the path, or those in the query."""
    if isinstance(reference, Tag):
        return (reference,)
    texts = request.query_params.getlist("tag")
    if len(texts) > MOST_TAGS:
        raise TooManyTags(f"a push may name at most {MOST_TAGS} tags")
    return tuple(dict.fromkeys(map(Tag.parse, texts)))


async def _digest(raw: bytes, reference: Reference) -> Digest:
    """Return the digest of a pushed manifest; raise `DigestInvalid` if the path has another one.

    The algorithm is that of the path, or the default one for a tag.
    """
    algorithm = reference.algorithm if isinstance(reference, Digest) else CANONICAL
    digest = await digest_of(raw, algorithm)
    if isinstance(reference, Digest) and reference != digest:
        raise DigestInvalid(f"the manifest hashes to {digest}, not to {reference}")
    return digest
