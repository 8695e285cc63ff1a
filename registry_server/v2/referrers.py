"""Referrers: manifests with a given subject (spec, "Listing Referrers")."""

from __future__ import annotations

from starlette.requests import Request

from registry_server.access.interfaces import Action
from registry_server.http.disconnects import while_connected
from registry_server.http.response import Response
from registry_server.v2.gate import Gate
from registry_server.v2.pagination import window
from registry_server.v2.urls import Urls
from storage.values.digest import Digest
from storage.values.manifests import OCI_INDEX
from storage.values.referrer_entries import Referrer

_MOST = 1000
_INDEX = b'{"schemaVersion":2,"mediaType":"%b","manifests":[%%b]}' % OCI_INDEX.encode()


class ReferrerEndpoints:
    """`/v2/<name>/referrers/<digest>`: an index, which is empty for an unknown subject."""

    def __init__(self, gate: Gate, urls: Urls) -> None:
        self._gate = gate
        self._urls = urls

    async def get(self, request: Request) -> Response:
        """GET, HEAD: end-12a, end-12b"""
        repository = await self._gate.repository(request, Action.PULL)
        subject = Digest.parse(request.path_params["digest"])
        artifact_type = _artifact_type(request)
        wanted = window(request)
        limit = max(wanted.limit(_MOST, _MOST) or 0, 1)
        page = await while_connected(
            request.receive,
            repository.referrers.page(subject, artifact_type, wanted.last, limit),
        )
        headers = {}
        if artifact_type is not None:
            headers["OCI-Filters-Applied"] = "artifactType"
        if page.more:
            query = {"artifactType": artifact_type} if artifact_type else {}
            query |= {"n": str(limit), "last": page.next}
            path = f"/v2/{repository.name}/referrers/{subject}"
            headers["Link"] = self._urls.next_page(path, **query)
        return Response(_index(page.entries), headers=headers, media_type=OCI_INDEX)


def _artifact_type(request: Request) -> str | None:
    """Return the artifact type to filter by, or None.

    Many clients do not escape the plus in `application/vnd.x+json`, so a query decodes it to a
    space. No media type has a space (RFC 6838, section 4.2), so each space was a plus.
    """
    return request.query_params.get("artifactType", "").replace(" ", "+") or None


def _index(referrers: tuple[Referrer, ...]) -> bytes:
    return _INDEX % b",".join(referrer.document for referrer in referrers)
