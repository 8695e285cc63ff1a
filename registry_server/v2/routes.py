"""The table of routes, with the numbers of their endpoints in the spec's table "Endpoints".

The numbers are those of the spec's main branch, which has more than version 1.1. No two routes
have the same path and method, so their order does not matter. `dispatch` matches the paths.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.blobs import BlobEndpoints
from registry_server.v2.dispatch import Route
from registry_server.v2.gate import Gate
from registry_server.v2.listings import ListingEndpoints
from registry_server.v2.manifests import ManifestEndpoints
from registry_server.v2.referrers import ReferrerEndpoints
from registry_server.v2.responses import EncodedResponse, encoded
from registry_server.v2.uploads import UploadEndpoints
from registry_server.v2.urls import Urls
from storage.values.manifests import MANIFEST_LIMIT

_EMPTY = b"{}"
_EMPTY_HEADERS = encoded({"Content-Type": "application/json", "Content-Length": str(len(_EMPTY))})


class BaseEndpoint:
    """`/v2/`: the API version check (spec, "Determining Support")."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def get(self, request: Request) -> Response:
        """GET, HEAD: end-1"""
        await self._gate.base(request)
        return EncodedResponse(_EMPTY, _EMPTY_HEADERS)


def routes(
    gate: Gate,
    urls: Urls,
    accel_redirect: AccelRedirect,
    most_tags: int | None,
    most_names: int,
    largest_manifest: int = MANIFEST_LIMIT,
) -> tuple[Route, ...]:
    """Return the routes under `/v2`; GET also serves HEAD."""
    base = BaseEndpoint(gate)
    blobs = BlobEndpoints(gate, accel_redirect)
    manifests = ManifestEndpoints(gate, urls, largest_manifest)
    uploads = UploadEndpoints(gate, urls)
    listings = ListingEndpoints(gate, urls, most_tags, most_names)
    referrers = ReferrerEndpoints(gate, urls)

    return (
        Route("/v2/", {"GET": base.get}),  # end-1
        Route("/v2", {"GET": base.get}),
        Route(
            "/v2/<name>/manifests/<reference>",
            {
                "GET": manifests.get,  # end-3
                "PUT": manifests.put,  # end-7
                "DELETE": manifests.delete,  # end-9
            },
        ),
        Route(
            "/v2/<name>/blobs/<digest>",
            {
                "GET": blobs.get,  # end-2
                "DELETE": blobs.delete,  # end-10
            },
        ),
        Route("/v2/<name>/blobs/uploads/", {"POST": uploads.start}),  # end-4, end-11
        Route("/v2/<name>/blobs/uploads", {"POST": uploads.start}),
        Route(
            "/v2/<name>/blobs/uploads/<upload>",
            {
                "PATCH": uploads.append,  # end-5
                "PUT": uploads.finish,  # end-6
                "GET": uploads.status,  # end-13
                "DELETE": uploads.cancel,  # end-14
            },
        ),
        Route("/v2/<name>/tags/list", {"GET": listings.tags}),  # end-8
        Route("/v2/<name>/referrers/<digest>", {"GET": referrers.get}),  # end-12
        Route("/v2/_catalog", {"GET": listings.catalog}),
    )
