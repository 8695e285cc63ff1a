"""Receives a body straight into large buffers, without ASGI's events and copies.

Meanwhile the transport delivers to a `Receiver`, which lends it a buffer to receive into. The
iterator yields full buffers. While one or two are written to disk another one fills; when none is
free, receiving pauses. Afterwards the connection continues with the bytes that follow the body.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from typing import Protocol, Self

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.flow_control import FlowControl

from registry_server.serving.http1.framing import Framing, FramingError

# Two are lent to the application, one fills, and one is full or empty in between.
_BUFFERS = 4
_LENT = 2
_LARGEST = 512 << 10
_SMALLEST = 64 << 10
# Bytes for all bodies received concurrently; each buffer has at least `_SMALLEST` bytes.
_BUDGET = 8 << 20
# A buffer with less free space than this counts as full.
_LITTLE_ROOM = 8 << 10
# Bytes of a chunked body read in one call: when every chunk is tiny, these already take a while.
_TURN = 128 << 10

_under_way: set[Receiver] = set()


class Owner(Protocol):
    """The connection that receives the body."""

    flow: FlowControl

    def take_back(self, rest: bytes) -> None:
        """Continue with `rest`: what follows the body, or more of it if it has not ended."""

    def refuse_body(self) -> None:
        """Refuse the body: its framing is invalid."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the client has disconnected."""


class Receiver(asyncio.BufferedProtocol):
    """Receives the rest of one body; iterating yields its content."""

    def __init__(
        self,
        owner: Owner,
        transport: asyncio.Transport,
        framing: Framing,
        arrived: bytes | bytearray,
    ) -> None:
        self._owner = owner
        self._transport = transport
        self._framing = framing
        self._free = deque(_buffers(framing, len(arrived)))
        self._full: deque[memoryview] = deque()
        self._lent: deque[memoryview] = deque()
        self._filling: memoryview | None = self._free.popleft()
        self._filling[: len(arrived)] = arrived
        self._held = len(arrived)
        self._is_over = False
        self.gave_up = False  # the owner has to read the rest of the body
        self._waiter: asyncio.Future[None] | None = None
        self._cancelled: asyncio.CancelledError | None = None

    def begin(self) -> None:
        """Make this the transport's protocol."""
        _under_way.add(self)
        self._transport.set_protocol(self)
        self._owner.flow.resume_reading()

    def hand_back(self) -> None:
        """Give the transport back to its owner, which continues with the framing."""
        self._end()
        if not self._transport.is_closing():
            self._transport.set_protocol(self._owner)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the free part of the buffer, no longer than the rest of the body."""
        assert self._filling is not None, "the transport reads although reading is paused"
        ahead = self._framing.ahead
        return self._filling[self._held : self._held + (_TURN if ahead is None else ahead)]

    def buffer_updated(self, nbytes: int) -> None:
        """Process the bytes that the transport wrote into the buffer."""
        assert self._filling is not None
        window = self._filling[self._held : self._held + nbytes]
        try:
            kept, used = self._framing.take(window)
        except FramingError:
            self.hand_back()
            self._owner.refuse_body()
            return
        rest = window[used:].tobytes()
        self._held += kept
        if self._framing.done or rest:
            # Large buffers do not help with chunks so small that they take several iterations.
            self.gave_up = not self._framing.done
            self.hand_back()
            self._owner.take_back(rest)
        elif len(self._filling) - self._held < self._little_room():
            self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make the last bytes available, then end the iteration."""
        self._end()
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Forward the transport's event to the owner."""
        self._owner.flow.pause_writing()

    def resume_writing(self) -> None:
        """Forward the transport's event to the owner."""
        self._owner.flow.resume_writing()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next batch of content; the oldest lent buffer is reused.

        When cancelled, it first returns what has arrived, if anything; the next call raises.
        """
        if len(self._lent) > _LENT:
            self._reuse(self._lent.popleft())
        while not self._full:
            if self._is_over:
                self._lent.clear()
                if self._framing.done or self.gave_up:
                    raise StopAsyncIteration
                # The body is incomplete, whatever the reason.
                raise ClientDisconnect
            if self._cancelled is not None:
                raise self._cancelled
            await self._news()
        batch = self._full.popleft()
        self._lent.append(batch)
        return batch

    async def _news(self) -> None:
        """Wait for a batch or the end; a cancellation is deferred until all bytes are yielded."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except asyncio.CancelledError as cancelled:
            self._cancelled = cancelled
            self._hand_out()
            self._owner.flow.pause_reading()

    def _pass_on(self) -> None:
        """Hand out the full buffer and fill a free one; without one, pause receiving."""
        self._hand_out()
        self._filling = self._free.popleft() if self._free else None
        if self._filling is None:
            self._owner.flow.pause_reading()

    def _hand_out(self) -> None:
        if self._filling is not None and self._held:
            self._full.append(self._filling[: self._held])
        self._filling, self._held = None, 0
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _reuse(self, batch: memoryview) -> None:
        if self._is_over or self._cancelled is not None:
            return
        whole = memoryview(batch.obj)
        if self._filling is None:
            self._filling = whole
            self._owner.flow.resume_reading()
        else:
            self._free.append(whole)

    def _end(self) -> None:
        _under_way.discard(self)
        if not self._is_over:
            self._is_over = True
            self._hand_out()
            self._free.clear()

    def _little_room(self) -> int:
        return _LITTLE_ROOM if self._framing.ahead is None else 1


def _buffers(framing: Framing, arrived: int) -> list[memoryview]:
    """Allocate the buffers of one body: smaller ones if many are received or little is left."""
    size = min(_LARGEST, max(_SMALLEST, _BUDGET // _BUFFERS // (len(_under_way) + 1)))
    if framing.ahead is not None:
        size = min(size, arrived + framing.ahead)
    size = -(-max(size, arrived + _LITTLE_ROOM) // mmap.PAGESIZE) * mmap.PAGESIZE
    return [memoryview(mmap.mmap(-1, size)) for _ in range(_BUFFERS)]
