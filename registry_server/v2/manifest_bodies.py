"""Limits the memory for bodies of pushed manifests, which is held until the manifest is stored.

Nearly all manifests have a few kilobytes. These are never refused because of large ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from registry_server.http.too_many_requests import TooManyRequests
from registry_server.v2.bodies import read_limited
from storage.concurrency.large_documents import INLINE

MOST_BYTES = 128 << 20  # in a worker
# Seconds. Storing the largest manifest takes a tenth of a second.
_RETRY_AFTER = 5


class ManifestBodies:
    """Reads bodies of at most `limit` bytes; refuses large ones beyond `most` bytes in total."""

    def __init__(self, limit: int, most: int = MOST_BYTES) -> None:
        self._limit = limit
        self._most = most
        self._total = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Yield a body; it counts until the end of the `async with` block.

        Raises `PayloadTooLarge` as soon as it exceeds its limit, and `TooManyRequests` if it is
        large and all bodies together exceed `most` bytes.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            self._total += size
            if self._total > self._most and counted > INLINE:
                raise TooManyRequests(_RETRY_AFTER, "too many large manifests at once")

        try:
            yield await read_limited(request, self._limit, count)
        finally:
            self._total -= counted
