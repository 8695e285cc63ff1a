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
# A client may send most of a batch and then next to nothing. So for more than so many bytes the
# rest of a batch is waited for so many seconds; a fast client fills a whole one in less.
_LITTLE = CHUNK // 16
_PATIENCE = 0.25


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
    written. While the source yields little, no more than `_LITTLE` stays in memory for long.
    """
    writer = _Writer(write)
    try:
        async for data in source:
            await writer.take(data)
    finally:
        await to_completion(writer.finish())


class _Writer:
    """Begins writes, each of a batch."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._batch: Buffer = bytearray()
        self._writing: deque[asyncio.Task[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, data: Buffer) -> None:
        """Add a piece to the batch; begin to write that when it is large enough."""
        self._batch = _joined(self._batch, data)
        if len(self._batch) >= CHUNK or self._batch is data:
            self._stop_timer()
            if not self._has_room():
                # A cancelled request must not cancel the write: what arrived counts.
                await asyncio.shield(self._writing[0])
                self._writing.popleft()
            self._begin_write()
        elif self._timer is None and len(self._batch) >= _LITTLE:
            self._start_timer()

    async def finish(self) -> None:
        """Write what is left; raise what the first write that failed raised."""
        self._stop_timer()
        failures = await self._failures()
        try:
            if failures:
                raise failures[0]
        finally:
            failures.clear()  # what is raised knows this frame (`storage.sharing`)
        if self._batch:
            await self._write(self._batch)

    async def _failures(self) -> list[BaseException]:
        """Wait for the writes, and forget them; return what they raised."""
        ends = await asyncio.gather(*self._writing, return_exceptions=True)
        self._writing.clear()
        return [end for end in ends if end is not None]

    def _begin_write(self) -> None:
        self._writing.append(asyncio.create_task(self._write(self._batch)))
        self._batch = bytearray()

    def _has_room(self) -> bool:
        """Tell whether a write may begin, after the oldest one is forgotten if it went well."""
        if len(self._writing) == _AHEAD and _went_well(self._writing[0]):
            self._writing.popleft()
        return len(self._writing) < _AHEAD

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._lose_patience)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        """Write the batch as it is, unless the disk is what is slow."""
        self._timer = None
        if self._has_room():
            self._begin_write()
        else:
            self._start_timer()


def _went_well(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


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
