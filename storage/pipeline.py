"""Moving a stream of small pieces to a writer in large batches, one write under way meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

from storage.concurrency import to_completion
from storage.drivers.base import CHUNK

Write: TypeAlias = Callable[[bytearray], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a request says of its body: where it starts and its length in bytes, when it does."""

    start: int | None = None
    length: int | None = None


async def pump(source: AsyncIterator[bytes], write: Write) -> None:
    """Write everything `source` yields, in batches of about CHUNK bytes, in order.

    However the source ends (exhausted, an error, a cancellation), what it yielded is written
    before this returns or raises. After a failed write nothing more is written.
    """
    batch = bytearray()
    writing: asyncio.Task[None] | None = None
    try:
        async for data in source:
            batch += data
            if len(batch) >= CHUNK:
                if writing is not None:
                    # A cancelled request must not cancel the write: what arrived counts.
                    await asyncio.shield(writing)
                writing = asyncio.create_task(write(batch))
                batch = bytearray()
    finally:
        await to_completion(_finish(writing, batch, write))


async def _finish(writing: asyncio.Task[None] | None, batch: bytearray, write: Write) -> None:
    if writing is not None:
        await writing
    if batch:
        await write(batch)
