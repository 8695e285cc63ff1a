"""Tags and catalog (spec, "Listing Tags"; the catalog is CNCF distribution's)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from starlette.requests import Request

from registry_server.access.interfaces import Action
from registry_server.http.disconnects import while_connected
from registry_server.http.response import Response
from registry_server.v2.gate import Gate
from registry_server.v2.pagination import window
from registry_server.v2.urls import Urls

# Repositories in a page of the catalog if the client sends no `n`, as in distribution.
_CATALOG_PAGE = 100

# Entries per call of the JSON encoder, which holds the interpreter's lock. Longer lists are encoded
# on a thread.
_BATCH = 5000


class ListingEndpoints:
    """`/v2/<name>/tags/list` and `/v2/_catalog`, in pages of limited size."""

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
        caller = await self._gate.caller(request)
        listing = repository.tags.page(wanted.last, limit, caller)
        page = await while_connected(request.receive, listing)
        start = f'{{"name":{json.dumps(str(repository.name))},"tags":['
        path = f"/v2/{repository.name}/tags/list"
        return await self._page(path, start, page.entries, limit if page.more else None)

    async def catalog(self, request: Request) -> Response:
        """GET, HEAD /v2/_catalog"""
        catalog = await self._gate.catalog(request)
        wanted = window(request)
        limit = wanted.limit(_CATALOG_PAGE, self._most_names) or 0
        page = await while_connected(request.receive, catalog.page(wanted.last, limit))
        names = [str(name) for name in page.entries]
        more = limit if page.more else None
        return await self._page("/v2/_catalog", '{"repositories":[', names, more)

    async def _page(
        self, path: str, start: str, entries: Sequence[str], more: int | None
    ) -> Response:
        """Return a response with `start` and the rest of the document; `more` is the page size if
        another page follows.
        """
        headers = {}
        if more is not None:
            headers["Link"] = self._urls.next_page(path, n=str(more), last=str(entries[-1]))
        if len(entries) <= _BATCH:
            content = _document(start, entries)
        else:
            content = await asyncio.to_thread(_document, start, entries)
        return Response(content, headers=headers, media_type="application/json")


def _document(start: str, entries: Sequence[str]) -> bytes:
    starts = range(0, len(entries), _BATCH)
    parts = [json.dumps(entries[at : at + _BATCH], separators=(",", ":"))[1:-1] for at in starts]
    return f"{start}{','.join(parts)}]}}".encode()
