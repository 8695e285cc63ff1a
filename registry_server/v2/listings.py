"""Tags and catalog (spec, "Listing Tags"; the catalog is CNCF distribution's)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from registry_server.answers import Response
from registry_server.auth.access import Action
from registry_server.gate import Gate
from registry_server.v2.pagination import window
from registry_server.v2.urls import Urls

# How many repositories a page of the catalog has when the client does not say, as in distribution.
_CATALOG_PAGE = 100


class ListingEndpoints:
    """`/v2/<name>/tags/list` and `/v2/_catalog`, in pages of at most so many entries."""

    def __init__(self, gate: Gate, urls: Urls, most_tags: int | None, most_names: int) -> None:
        self._gate = gate
        self._urls = urls
        self._most_tags = most_tags
        self._most_names = most_names

    async def tags(self, request: Request) -> Response:
        """GET, HEAD: end-8a, end-8b"""
        repository = await self._gate.repository(request, Action.PULL)
        wanted = window(request)
        limit = wanted.limit(None, self._most_tags)
        page = await repository.tags.page(wanted.last, limit)
        tags = list(page.entries)
        body = {"name": str(repository.name), "tags": tags}
        path = f"/v2/{repository.name}/tags/list"
        return self._page(path, body, tags, limit if page.more else None)

    async def catalog(self, request: Request) -> Response:
        """GET, HEAD /v2/_catalog"""
        catalog = await self._gate.catalog(request)
        wanted = window(request)
        limit = wanted.limit(_CATALOG_PAGE, self._most_names) or 0
        page = await catalog.page(wanted.last, limit)
        names = [str(name) for name in page.entries]
        return self._page(
            "/v2/_catalog", {"repositories": names}, names, limit if page.more else None
        )

    def _page(
        self, path: str, body: Mapping[str, object], entries: Sequence[str], more: int | None
    ) -> Response:
        headers = {}
        if more is not None:
            headers["Link"] = self._urls.next_page(path, n=str(more), last=str(entries[-1]))
        content = json.dumps(body, separators=(",", ":")).encode()
        return Response(content, headers=headers, media_type="application/json")
