"""Work on large manifests: on a thread, and a few at a time.

A manifest of 4 MiB takes the parser up to 85 ms with the interpreter's lock, and 25 MiB of memory
beside its bytes. Were as many parsed at once as there are threads, all other requests would wait
for each of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from storage.concurrency import to_completion

T = TypeVar("T")

# Bytes. Hashing and parsing more takes longer than switching to a thread.
INLINE = 64 << 10


class ByteBudget:
    """Lets tasks use `most` bytes together; those that need more than is left wait in turn."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Use `size` bytes for the length of the block, and all there are if `size` is more."""
        size = min(size, self._most)
        await self._take(size)
        try:
            yield
        finally:
            self._free += size
            self._admit()

    async def _take(self, size: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += size  # it was admitted at the same moment
            else:
                turn.cancel()
            self._admit()
            raise

    def _admit(self) -> None:
        """Give their turns to the first that wait, as many as there is room for."""
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


# Of this process: bytes of documents that are read or parsed at the same time.
BUDGET = ByteBudget(8 << 20)


async def parsed(parse: Callable[..., T], raw: bytes, *args: Any) -> T:
    """Return what `parse` makes of a document."""
    if len(raw) <= INLINE:
        return parse(raw, *args)
    async with BUDGET.of(len(raw)):
        # Not when the caller is cancelled: the thread goes on, and the next would be one too many.
        return await to_completion(asyncio.to_thread(parse, raw, *args))
