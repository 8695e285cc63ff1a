"""The wire on one screen: the endpoints of the spec, by the numbers of its table "Endpoints".

The numbers are those of its main branch, which has some that 1.1 has not. No two routes match the
same path and method, so their order means nothing. They are plain Starlette routes: FastAPI's cost
several times as much to dispatch and answer HEAD with 405. `{name:path}` takes as much as it can,
so a repository may be called `a/manifests/b`; what is not a name after all is told so by the gate.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.routing import Route

from registry_server.gate import Gate
from registry_server.v2.base import BaseEndpoint
from registry_server.v2.blobs import BlobEndpoints
from registry_server.v2.listings import ListingEndpoints
from registry_server.v2.manifests import ManifestEndpoints
from registry_server.v2.referrers import ReferrerEndpoints
from registry_server.v2.uploads import UploadEndpoints
from registry_server.v2.urls import Urls


class Endpoint(Route):
    """A route to which a line feed is a character like any other.

    In Starlette's pattern `$` forgives one at the end, and `.` stops at one.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$") + r"\Z", re.DOTALL)


def routes(gate: Gate, urls: Urls, most_tags: int | None, most_names: int) -> list[Route]:
    """Return the `/v2/` endpoints; GET answers HEAD as well."""
    base = BaseEndpoint(gate)
    blobs = BlobEndpoints(gate)
    manifests = ManifestEndpoints(gate, urls)
    uploads = UploadEndpoints(gate, urls)
    listings = ListingEndpoints(gate, urls, most_tags, most_names)
    referrers = ReferrerEndpoints(gate, urls)

    base_path = "/v2/"
    blob = "/v2/{name:path}/blobs/{digest}"
    manifest = "/v2/{name:path}/manifests/{reference}"
    new_upload = "/v2/{name:path}/blobs/uploads/"
    upload = "/v2/{name:path}/blobs/uploads/{upload}"
    referrer_list = "/v2/{name:path}/referrers/{digest}"
    tag_list = "/v2/{name:path}/tags/list"
    return [
        Endpoint(base_path, base.get),  # end-1
        Endpoint(base_path.rstrip("/"), base.get),
        Endpoint(manifest, manifests.get),  # end-3
        Endpoint(blob, blobs.get),  # end-2
        Endpoint(new_upload, uploads.start, methods=["POST"]),  # end-4, end-11
        Endpoint(new_upload.rstrip("/"), uploads.start, methods=["POST"]),
        Endpoint(upload, uploads.append, methods=["PATCH"]),  # end-5
        Endpoint(upload, uploads.finish, methods=["PUT"]),  # end-6
        Endpoint(manifest, manifests.put, methods=["PUT"]),  # end-7
        Endpoint(tag_list, listings.tags),  # end-8
        Endpoint(manifest, manifests.delete, methods=["DELETE"]),  # end-9
        Endpoint(blob, blobs.delete, methods=["DELETE"]),  # end-10
        Endpoint(referrer_list, referrers.get),  # end-12
        Endpoint(upload, uploads.status),  # end-13
        Endpoint(upload, uploads.cancel, methods=["DELETE"]),  # end-14
        Endpoint("/v2/_catalog", listings.catalog),
    ]
