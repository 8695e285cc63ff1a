"""Moving a stream of pieces to a writer in large batches, writes under way meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from storage.buffers import Buffer
from storage.concurrency import to_completion
from storage.drivers.base import CHUNK

Write: TypeAlias = Callable[[Buffer], Coroutine[Any, Any, None]]

# A piece of this many bytes is worth a write of its own, and not worth copying.
_LARGE = CHUNK // 8
# Writes under way: while one is done the next one waits beside it, and a third piece arrives.
_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a request says of its body: where it starts and its length in bytes, when it does.

    A body that is not as long as `length` is undone; one that breaks off before the `announced`
    number of bytes is a connection that was lost, and what arrived is kept.
    """

    start: int | None = None
    length: int | None = None
    announced: int | None = None

    @property
    def expected(self) -> int | None:
        """How many bytes will come, if anything said so."""
        return self.announced if self.length is None else self.length


async def pump(source: AsyncIterator[Buffer], write: Write) -> None:
    """Write everything `source` yields, in order: large pieces as they are, small ones gathered.

    Writes may overlap, so `write` sees to their order. A piece need not stay what it is after the
    third one behind it is asked for. However the source ends (exhausted, an error, a cancellation),
    what it yielded is written before this returns or raises. After a failed write nothing more is
    written.
    """
    batch: Buffer = bytearray()
    writing: deque[asyncio.Task[None]] = deque()
    try:
        async for data in source:
            batch = _joined(batch, data)
            if len(batch) >= CHUNK or batch is data:
                if len(writing) == _AHEAD:
                    # A cancelled request must not cancel the write: what arrived counts.
                    await asyncio.shield(writing[0])
                    writing.popleft()
                writing.append(asyncio.create_task(write(batch)))
                batch = bytearray()
    finally:
        await to_completion(_finish(writing, batch, write))


def _joined(batch: Buffer, data: Buffer) -> Buffer:
    """Return `data` itself where that is a batch, else a copy of both.

    A memoryview is lent, and its owner counts the pieces that are asked for: it is never gathered,
    or pieces would be asked for while earlier ones are still being written.
    """
    if not batch and (isinstance(data, memoryview) or len(data) >= _LARGE):
        return data
    assert isinstance(batch, bytearray)
    batch += data
    return batch


async def _finish(writing: deque[asyncio.Task[None]], batch: Buffer, write: Write) -> None:
    ends = await asyncio.gather(*writing, return_exceptions=True)
    writing.clear()
    failures = [end for end in ends if end is not None]
    del ends
    try:
        if failures:
            raise failures[0]
    finally:
        failures.clear()  # what is raised knows this frame (`storage.sharing`)
    if batch:
        await write(batch)
