"""The bodies of pushed manifests, which are in memory until the manifest is stored.

Nearly all have a few kilobytes. They are never refused for the sake of large ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from registry_server.limits.problems import TooManyRequests
from registry_server.v2.bodies import read_limited
from storage.large_documents import INLINE

# Bytes in a worker.
MOST_BYTES = 128 << 20
# Seconds. Storing the largest takes a tenth of one.
_RETRY_AFTER = 5


class ManifestBodies:
    """Reads bodies of at most `limit` bytes; with large ones all have at most `most`."""

    def __init__(self, limit: int, most: int = MOST_BYTES) -> None:
        self._limit = limit
        self._most = most
        self._held = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Read a body, which counts until the end of the block.

        Raises `PayloadTooLarge` as soon as that is known, and `TooManyRequests` for a large one
        when all bodies that count have more than `most` bytes.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            self._held += size
            if self._held > self._most and counted > INLINE:
                raise TooManyRequests(_RETRY_AFTER, "too many large manifests at once")

        try:
            yield await read_limited(request, self._limit, count)
        finally:
            self._held -= counted
