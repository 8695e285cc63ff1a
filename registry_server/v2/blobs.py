"""Blobs: pull, check, delete (spec, "Pulling blobs" and "Deleting Blobs")."""

from __future__ import annotations

from functools import lru_cache

from starlette.requests import Request

from registry_server.access.interfaces import Action
from registry_server.http.response import Response
from registry_server.v2 import ranges
from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.gate import Gate
from registry_server.v2.responses import (
    BlobResponse,
    EncodedHeaders,
    EncodedResponse,
    content_headers,
    encoded,
    not_modified,
    range_applies,
)
from storage.interfaces import Blob
from storage.values.digest import Digest

# The content of a digest never changes, so caches may keep it for the longest usual time, a year.
_IMMUTABLE = "max-age=31536000, immutable"


class BlobEndpoints:
    """`/v2/<name>/blobs/<digest>`"""

    def __init__(self, gate: Gate, accel_redirect: AccelRedirect) -> None:
        self._gate = gate
        self._accel_redirect = accel_redirect

    async def get(self, request: Request) -> Response:
        """GET, HEAD: end-2"""
        repository = await self._gate.repository(request, Action.PULL)
        digest = Digest.parse(request.path_params["digest"])
        is_public = await self._gate.is_public(request, repository)
        if not_modified(request, digest):
            await repository.blobs.size(digest)
            return Response(status_code=304, headers=_headers(digest, is_public))
        if request.method == "HEAD":
            size = await repository.blobs.size(digest)
            return EncodedResponse(b"", _encoded_headers(digest, size, is_public))
        headers = _headers(digest, is_public)
        redirect = await self._accel_redirect.answer(request, repository.blobs, digest, headers)
        if redirect is not None:
            return redirect
        blob = await repository.blobs.open(digest)
        try:
            return BlobResponse(blob, _parts(request, digest, blob), headers)
        except BaseException:
            await blob.close()
            raise

    async def delete(self, request: Request) -> Response:
        """DELETE: end-10"""
        repository = await self._gate.repository(request, Action.DELETE)
        await repository.blobs.delete(Digest.parse(request.path_params["digest"]))
        return Response(status_code=202, headers={"Content-Length": "0"})


def _headers(digest: Digest, is_public: bool) -> dict[str, str]:
    """Return the headers of a blob; shared caches must not keep one that needs credentials.

    The response has to say so (RFC 9111, section 5.2.2.7): a proxy that verifies client
    certificates, or caches everything, may see no credentials in the request.
    """
    cache_control = _IMMUTABLE if is_public else f"private, {_IMMUTABLE}"
    return content_headers(digest) | {"Cache-Control": cache_control, "Accept-Ranges": "bytes"}


@lru_cache(maxsize=1024)
def _encoded_headers(digest: Digest, size: int, is_public: bool) -> EncodedHeaders:
    whole = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    return encoded(_headers(digest, is_public) | whole)


def _parts(request: Request, digest: Digest, blob: Blob) -> tuple[ranges.ByteRange, ...]:
    if not range_applies(request, digest):
        return ()
    return ranges.parse(request.headers.get("range"), blob.size)
