"""A body received straight into large buffers, past the events and copies of ASGI.

While a body is received this way, the connection's transport delivers to a `Receiver`, which lends
it a buffer to receive into. A full buffer goes to whoever iterates; while one or two are written to
disk another one fills, and when all are taken the client has to wait. Afterwards the connection is
the parser's again, with whatever arrived behind the body.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from typing import Protocol, Self

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.flow_control import FlowControl

from registry_server.http1.framing import Framing, FramingError

# The key in a scope's "extensions" of a callable that takes nothing and returns an iterator of
# buffers of bytes. Each is valid until the third one behind it is asked for. It raises
# ClientDisconnect when the client leaves before the body's end, after all that arrived was yielded.
EXTENSION = "registry.http.request.batches"

# Two are lent out, one fills, and one is full or empty in between.
_BUFFERS = 4
_LENT = 2
_LARGEST = 512 << 10
_SMALLEST = 64 << 10
# Bytes for all bodies that are received at once, as long as that leaves each a sensible buffer.
_BUDGET = 8 << 20
# With less room than this, what follows is left to the next buffer.
_LITTLE_ROOM = 8 << 10
# Bytes of chunks that are taken in one go: when each is tiny, even these take a while.
_TURN = 128 << 10

_under_way: set[Receiver] = set()


class Owner(Protocol):
    """The connection whose body it is."""

    flow: FlowControl

    def take_back(self, rest: bytes) -> None:
        """Continue with `rest`, which follows the body or, if that has not ended, continues it."""

    def refuse_body(self) -> None:
        """Give up: where the body ends can't be known."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the client is gone."""


class Receiver(asyncio.BufferedProtocol):
    """Receives the rest of one body; iterate over it for the content."""

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
        self.gave_up = False  # the owner reads the rest of the body
        self._waiter: asyncio.Future[None] | None = None
        self._cancelled: asyncio.CancelledError | None = None

    def begin(self) -> None:
        """Take the connection over."""
        _under_way.add(self)
        self._transport.set_protocol(self)
        self._owner.flow.resume_reading()

    def hand_back(self) -> None:
        """Return the connection before the body's end; its owner goes on with the framing."""
        self._end()
        if not self._transport.is_closing():
            self._transport.set_protocol(self._owner)  # type: ignore[arg-type]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the transport what is left of the buffer, or of the body."""
        assert self._filling is not None, "the transport reads although it was told to pause"
        ahead = self._framing.ahead
        return self._filling[self._held : self._held + (_TURN if ahead is None else ahead)]

    def buffer_updated(self, nbytes: int) -> None:
        """Take in what the transport put into the buffer."""
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
            # Chunks that take several turns to read are not worth large buffers.
            self.gave_up = not self._framing.done
            self.hand_back()
            self._owner.take_back(rest)
        elif len(self._filling) - self._held < self._little_room():
            self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever iterates have the last bytes."""
        self._end()
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on the transport's word."""
        self._owner.flow.pause_writing()

    def resume_writing(self) -> None:
        """Pass on the transport's word."""
        self._owner.flow.resume_writing()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> memoryview:
        """Return the next batch of content; an earlier one is received into again.

        When it is cancelled it returns what arrived, if anything did, and is cancelled next time.
        """
        if len(self._lent) > _LENT:
            self._reuse(self._lent.popleft())
        while not self._full:
            if self._is_over:
                self._lent.clear()
                if self._framing.done or self.gave_up:
                    raise StopAsyncIteration
                # Whatever ended it before its end, it is not the whole body.
                raise ClientDisconnect
            if self._cancelled is not None:
                raise self._cancelled
            await self._news()
        batch = self._full.popleft()
        self._lent.append(batch)
        return batch

    async def _news(self) -> None:
        """Wait for a batch, or the end; a cancellation waits until all that arrived was yielded."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        except asyncio.CancelledError as cancelled:
            self._cancelled = cancelled
            self._hand_out()
            self._owner.flow.pause_reading()

    def _pass_on(self) -> None:
        """Have the filled buffer taken, and fill another; if there is none the client waits."""
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
    """Make the buffers of one body: smaller ones when many are received, or little is to come."""
    size = min(_LARGEST, max(_SMALLEST, _BUDGET // _BUFFERS // (len(_under_way) + 1)))
    if framing.ahead is not None:
        size = min(size, arrived + framing.ahead)
    size = -(-max(size, arrived + _LITTLE_ROOM) // mmap.PAGESIZE) * mmap.PAGESIZE
    return [memoryview(mmap.mmap(-1, size)) for _ in range(_BUFFERS)]
