"""Parses large manifests on a thread, and only a few at a time.

The parser needs up to 85 ms for a manifest of 4 MiB, during which it holds the GIL, and 25 MiB of
memory beside its bytes. If every thread parsed one, all other requests would wait for them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from storage.concurrency.cancellation import to_completion

T = TypeVar("T")

# Bytes. Hashing and parsing fewer takes less time than switching to a thread.
INLINE = 64 << 10


class ByteBudget:
    """A semaphore of `most` bytes; tasks that need more than is free wait in order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, size: int) -> AsyncIterator[None]:
        """Acquire `size` bytes, or `most` if that is less, for the length of the block."""
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
        """Admit the first waiting tasks, as many as fit into the free bytes."""
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done():
                if size > self._free:
                    return
                self._free -= size
                turn.set_result(None)
            self._waiting.popleft()


# Bytes of documents that this process reads or parses at the same time.
BUDGET = ByteBudget(8 << 20)


async def parse_in_budget(parse: Callable[..., T], raw: bytes, *args: Any) -> T:
    """Return `parse(raw, *args)`; large documents are parsed on a thread, within the budget."""
    if len(raw) <= INLINE:
        return parse(raw, *args)
    async with BUDGET.of(len(raw)):
        # Even if the caller is cancelled: the thread keeps running, so its bytes stay acquired.
        return await to_completion(asyncio.to_thread(parse, raw, *args))
