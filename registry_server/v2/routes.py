"""The table of endpoints, with their numbers in the spec's table "Endpoints".

The numbers are those of the spec's main branch, which has more than version 1.1. No two endpoints
have the same path and method, so their order does not matter. `dispatch` matches the paths.
"""

from __future__ import annotations

from registry_server.v2.base import BaseEndpoint
from registry_server.v2.blobs import BlobEndpoints
from registry_server.v2.dispatch import Endpoint
from registry_server.v2.gate import Gate
from registry_server.v2.listings import ListingEndpoints
from registry_server.v2.manifests import ManifestEndpoints
from registry_server.v2.offload import Offload
from registry_server.v2.referrers import ReferrerEndpoints
from registry_server.v2.uploads import UploadEndpoints
from registry_server.v2.urls import Urls
from storage.values.manifests import MANIFEST_LIMIT


def endpoints(
    gate: Gate,
    urls: Urls,
    offload: Offload,
    most_tags: int | None,
    most_names: int,
    largest_manifest: int = MANIFEST_LIMIT,
) -> tuple[Endpoint, ...]:
    """Return the endpoints under `/v2`; GET also serves HEAD."""
    base = BaseEndpoint(gate)
    blobs = BlobEndpoints(gate, offload)
    manifests = ManifestEndpoints(gate, urls, largest_manifest)
    uploads = UploadEndpoints(gate, urls)
    listings = ListingEndpoints(gate, urls, most_tags, most_names)
    referrers = ReferrerEndpoints(gate, urls)

    return (
        Endpoint("/v2/", {"GET": base.get}),  # end-1
        Endpoint("/v2", {"GET": base.get}),
        Endpoint(
            "/v2/<name>/manifests/<reference>",
            {
                "GET": manifests.get,  # end-3
                "PUT": manifests.put,  # end-7
                "DELETE": manifests.delete,  # end-9
            },
        ),
        Endpoint(
            "/v2/<name>/blobs/<digest>",
            {
                "GET": blobs.get,  # end-2
                "DELETE": blobs.delete,  # end-10
            },
        ),
        Endpoint("/v2/<name>/blobs/uploads/", {"POST": uploads.start}),  # end-4, end-11
        Endpoint("/v2/<name>/blobs/uploads", {"POST": uploads.start}),
        Endpoint(
            "/v2/<name>/blobs/uploads/<upload>",
            {
                "PATCH": uploads.append,  # end-5
                "PUT": uploads.finish,  # end-6
                "GET": uploads.status,  # end-13
                "DELETE": uploads.cancel,  # end-14
            },
        ),
        Endpoint("/v2/<name>/tags/list", {"GET": listings.tags}),  # end-8
        Endpoint("/v2/<name>/referrers/<digest>", {"GET": referrers.get}),  # end-12
        Endpoint("/v2/_catalog", {"GET": listings.catalog}),
    )
