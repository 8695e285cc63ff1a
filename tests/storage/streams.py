"""Helpers for asynchronous streams and cancelled tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def stream_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """Yield the pieces, and let other tasks run in between, as a socket does."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def broken_after(pieces: Iterable[bytes], error: Exception) -> AsyncIterator[bytes]:
    """Yield the pieces and then fail, as a body does when its client disconnects."""
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece
    raise error


async def joined(stream: AsyncIterator[bytes] | AsyncIterator[bytearray]) -> bytes:
    """Return all bytes of a stream."""
    return b"".join([bytes(piece) async for piece in stream])


async def cancelled_after(ticks: int, work: Coroutine[Any, Any, T]) -> T | None:
    """Run `work`, cancel it after some turns of the event loop, and wait for its end."""
    task = asyncio.create_task(work)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        return await task
    return None
