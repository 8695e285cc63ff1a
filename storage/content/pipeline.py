"""Writes a stream of buffers in large batches, and receives while earlier batches are written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import CHUNK
from storage.values.buffers import Buffer

Write: TypeAlias = Callable[[Buffer], Coroutine[Any, Any, None]]

# A buffer of this many bytes is written by itself: copying it into a batch would cost more.
_LARGE = CHUNK // 8
# Concurrent writes: one runs and the next one waits, while a third batch arrives.
_AHEAD = 2
# A client may send most of a batch and then stall. So a batch of more than _LITTLE bytes waits
# _PATIENCE seconds for the rest; a fast client fills a whole batch in less.
_LITTLE = CHUNK // 16
_PATIENCE = 0.25


async def pump(source: AsyncIterator[Buffer], write: Write) -> None:
    """Write everything `source` yields: large buffers unchanged, small ones gathered into batches.

    Writes may overlap, so `write` must keep their order. `source` may reuse a buffer once the third
    buffer after it is requested. However the source ends (exhausted, an error, a cancellation),
    everything it yielded is written before this returns or raises. After a failed write nothing
    more is written. While the source stalls, at most `_LITTLE` bytes stay unwritten for long.
    """
    writer = _Writer(write)
    try:
        async for data in source:
            await writer.take(data)
    finally:
        await to_completion(writer.finish())


class _Writer:
    """Gathers buffers into batches and starts their writes."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._batch: Buffer = bytearray()
        self._writing: deque[asyncio.Task[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, data: Buffer) -> None:
        """Add a buffer to the batch, and start writing the batch when it is large enough."""
        self._batch = _joined(self._batch, data)
        if len(self._batch) >= CHUNK or self._batch is data:
            self._stop_timer()
            if not self._has_room():
                # A cancelled request must not cancel the write: what arrived is kept.
                await asyncio.shield(self._writing[0])
                self._writing.popleft()
            self._begin_write()
        elif self._timer is None and len(self._batch) >= _LITTLE:
            self._start_timer()

    async def finish(self) -> None:
        """Write the rest; raise the exception of the first write that failed."""
        self._stop_timer()
        failures = await self._failures()
        try:
            if failures:
                raise failures[0]
        finally:
            # breaks a reference cycle with the traceback (`storage.concurrency.sharing`)
            failures.clear()
        if self._batch:
            await self._write(self._batch)

    async def _failures(self) -> list[BaseException]:
        """Wait for the writes, drop them, and return their exceptions."""
        ends = await asyncio.gather(*self._writing, return_exceptions=True)
        self._writing.clear()
        return [end for end in ends if end is not None]

    def _begin_write(self) -> None:
        self._writing.append(asyncio.create_task(self._write(self._batch)))
        self._batch = bytearray()

    def _has_room(self) -> bool:
        """Drop the oldest write if it succeeded; return whether another one may start."""
        if len(self._writing) == _AHEAD and _succeeded(self._writing[0]):
            self._writing.popleft()
        return len(self._writing) < _AHEAD

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._lose_patience)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        """Write the incomplete batch, unless earlier writes are still running."""
        self._timer = None
        if self._has_room():
            self._begin_write()
        else:
            self._start_timer()


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _joined(batch: Buffer, data: Buffer) -> Buffer:
    """Return `data` itself where it makes a batch, otherwise add a copy of it to `batch`.

    A memoryview is never copied into a batch: its owner reuses the memory once the third buffer
    after it is requested, so each memoryview must start a write.
    """
    if not batch and (isinstance(data, memoryview) or len(data) >= _LARGE):
        return data
    assert isinstance(batch, bytearray)
    batch += data
    return batch
