"""One request and its answer: ASGI's `receive` and `send` on a connection.

The head of an answer waits for the first of its body, as ASGI wants it, and both go out in one
write: one system call, and one packet where two would wake the client twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

from registry_server import envelope
from registry_server.http1 import backlog, direct, pace, zerocopy
from registry_server.http1.answer_heads import (
    Header,
    answer_head,
    last_answer,
    remembered_answer_head,
)
from registry_server.http1.request_heads import RequestHead
from storage.buffers import Buffer
from storage.exhaustion import leave

logger = logging.getLogger(__name__)

# Bytes; copying a larger body behind its head costs more than a second write.
_JOINED = 64 << 10
# Bytes; a larger body is written in parts of so many, while the client takes them. What is read of
# a file comes in parts of this size.
_PART = 1 << 20
# Of this process.
BACKLOG = backlog.Backlog()
# Of this process as well, for answers that are read a part at a time, such as blobs over TLS. Each
# wait is for one part, so a client has as long for it as a modem takes.
STREAMS = backlog.Backlog(seconds=60.0)
# Made beforehand: there may be no memory to make them in.
_FAILED = last_answer(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    envelope.body([envelope.entry("UNKNOWN", "the registry failed")]),
)
_NO_MEMORY = last_answer(
    HTTPStatus.SERVICE_UNAVAILABLE,
    envelope.body([envelope.entry("UNKNOWN", "the registry is out of memory")]),
)
_EXTENSIONS: Scope = {"http.response.zerocopysend": {}} if zerocopy.SUPPORTED else {}


class Owner(Protocol):
    """The connection an exchange takes place on."""

    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop
    # Whether bytes may go past the transport, which under TLS they may not.
    is_plain: bool

    @property
    def standing_lines(self) -> bytes:
        """The header lines that every answer gets."""

    def batches(self, exchange: Exchange) -> AsyncIterator[Buffer]:
        """Receive the rest of the body of `exchange` directly."""

    def let_come(self, exchange: Exchange) -> None:
        """Read on for the body of `exchange`."""

    def wait_for_body(self, exchange: Exchange) -> None:
        """Hold the body of `exchange` to its pace."""

    def on_response_complete(self) -> None:
        """Go on with what comes next."""


class Exchange:
    """A request, what arrived of its body, and how far its answer is."""

    def __init__(self, owner: Owner, head: RequestHead) -> None:
        self.head = head
        self.keep_alive = head.keep_alive
        self.body = bytearray()
        self.more_body = True
        self.awaits_continue = head.awaits_continue
        self.pace = pace.DEFAULT
        self.disconnected = False
        self.has_begun = False  # something of the answer was written
        self.response_complete = False
        self._owner = owner
        self._is_head = head.method == "HEAD"
        self._has_news = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # rendered, not written yet
        self._left: int | None = None  # bytes of the answer still to come; None in chunks
        self._sender: zerocopy.SocketSender | None = None
        self._held = 0  # bytes of the body that the application holds in memory

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Have `app` answer, and see to it that there is an answer or an end."""
        if self._owner.is_plain:
            scope["extensions"] = {direct.EXTENSION: self._batches, **_EXTENSIONS}
        if self.more_body:
            scope[pace.KEEP] = self._keep_pace
            scope[backlog.HOLD] = self._hold
        answer = _FAILED
        try:
            await app(scope, self.receive, self.send)
        except MemoryError:
            answer = _NO_MEMORY
        except Exception:
            logger.exception("a request failed outside its handler")
        finally:
            if not self.response_complete and not self.disconnected:
                self._give_up(answer)

    def news(self) -> None:
        """Wake `receive`: something of the body arrived, or its end, or the client left."""
        self._has_news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end_of_body(self) -> None:
        """Learn that the body is complete."""
        self.more_body = False
        self.news()

    def take_body(self) -> bytearray:
        """Hand over what arrived so far; the rest arrives elsewhere."""
        self.invite()
        body, self.body = self.body, bytearray()
        return body

    def lose(self) -> None:
        """Learn that the client is gone."""
        self.disconnected = True
        self.news()
        if self._sender is not None:
            self._sender.lose()

    def invite(self) -> None:
        """Ask for the body, if the client waits to be asked (RFC 9110 section 10.1.1)."""
        if not self.awaits_continue:
            return
        self.awaits_continue = False
        if not self._owner.transport.is_closing():
            self._owner.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._owner.wait_for_body(self)

    async def receive(self) -> Message:
        """Return what arrived of the body, or that the client is gone (ASGI)."""
        self.invite()
        if not self.disconnected and not self.response_complete:
            self._owner.let_come(self)
            with self._waiting(self._held if self.more_body else 0, BACKLOG):
                await self._wait_for_news()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Send a part of the answer (ASGI); nothing at all once the client is gone."""
        if self._owner.flow.write_paused and not self.disconnected:
            await self._drain(self._unsent() + len(message.get("body", b"")), STREAMS)
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and self._head is None and not self.has_begun:
            self._begin(message["status"], message.get("headers", ()))
        elif self.response_complete or (self._head is None and not self.has_begun):
            raise RuntimeError(f"the application sent {kind} out of turn")
        elif kind == "http.response.body":
            body, more = message.get("body", b""), message.get("more_body", False)
            if len(body) > _PART and not self._is_head:
                await self._send_large(body, more=more)
            else:
                await self._send_part(body, more=more)
        elif kind == "http.response.zerocopysend":
            await self._send_file(message)
        else:
            raise RuntimeError(f"the application sent {kind}, which is not known here")

    def _begin(self, status: int, headers: Iterable[Header]) -> None:
        render = remembered_answer_head if self.head.is_short else answer_head
        rendered, self._left, self.keep_alive = render(
            status, tuple(headers), bodiless=self._is_head, keep_alive=self.keep_alive
        )
        self._head = b"%b%b\r\n" % (rendered, self._owner.standing_lines)
        self.awaits_continue = False

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self._is_head:
            body = b""
        elif self._left is None:
            body = _chunk(body, last=not more)
        else:
            self._count(len(body))
        self._write(body)

    async def _send_part(self, body: bytes, *, more: bool) -> None:
        self._send_body(body, more=more)
        if not more:
            await self._end()

    async def _send_large(self, body: bytes, *, more: bool) -> None:
        """Send a body in parts, while the client takes them."""
        start = 0
        while len(body) - start > _PART:
            self._send_body(body[start : start + _PART], more=True)
            if self._owner.flow.write_paused:
                await self._drain(len(body), BACKLOG)
            if self.disconnected:
                return
            start += _PART
        await self._send_part(body[start:], more=more)

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, None
        self.has_begun = True
        if head is None:
            self._owner.transport.write(body)
        elif len(body) <= _JOINED:
            self._owner.transport.write(head + body)
        else:
            self._owner.transport.writelines((head, body))

    async def _send_file(self, message: Message) -> None:
        """Send a part of a file (ASGI's zero-copy-send extension)."""
        count: int = message["count"]
        if not count:
            await self._send_part(b"", more=message.get("more_body", False))
            return
        self._count(count)
        try:
            sent = await self._send_past(message["file"].fileno(), message["offset"], count)
        except OSError as error:
            if not isinstance(error, ConnectionError):
                logger.error("a file could not be sent: %s", error)
            self._abort()
            return
        if sent < count:
            logger.error("a file was cut while it was sent")
            self._abort()
        elif not message.get("more_body", False):
            self._complete()

    async def _send_past(self, file: int, offset: int, count: int) -> int:
        """Send past the transport, once that has nothing left to write."""
        await self._flushed()
        self._sender = zerocopy.SocketSender(self._owner.loop, self._owner.transport)
        try:
            head, self._head, self.has_begun = self._head, None, True
            if head is not None:
                await self._sender.send(head)
            return await self._sender.send_file(file, offset, count)
        finally:
            self._sender.close()
            self._sender = None

    async def _flushed(self) -> None:
        """Return when the transport has handed everything to the kernel."""
        transport = self._owner.transport
        if transport.get_write_buffer_size():
            transport.set_write_buffer_limits(0)
            try:
                await self._owner.flow.drain()
            finally:
                if not self.disconnected:
                    transport.set_write_buffer_limits()
        if self.disconnected:
            raise ConnectionResetError("the client is gone")

    def _count(self, size: int) -> None:
        if self._left is None or size > self._left:
            raise RuntimeError("the answer is longer than its Content-Length")
        self._left -= size

    async def _end(self) -> None:
        """Complete the answer once its client has taken most of it.

        Until then no further request is read: its answer would be made, and wait in memory.
        """
        if self._owner.flow.write_paused:
            await self._drain(self._unsent(), BACKLOG)
            if self.disconnected:
                return
        self._complete()

    def _complete(self) -> None:
        if self._left:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.response_complete = True
        self.news()
        if not self.keep_alive:
            self._owner.transport.close()
        self._owner.on_response_complete()

    def _abort(self) -> None:
        """End the connection in the midst of an answer; nothing more of it is sent."""
        self._owner.transport.abort()
        self.lose()

    def _give_up(self, answer: bytes) -> None:
        """Send `answer` where nothing was answered yet, and end the connection."""
        try:
            if not self.has_begun:
                self._owner.transport.write(answer)
            self.has_begun = self.response_complete = True
            self._owner.transport.close()
        except MemoryError:
            leave()  # otherwise this client would wait without end

    def _hold(self, size: int) -> None:
        self._held = size

    def _unsent(self) -> int:
        """Return how many bytes were written and not taken by the client."""
        return self._owner.transport.get_write_buffer_size()

    async def _drain(self, size: int, among: backlog.Backlog) -> None:
        """Wait until the client has taken most of what was written, with `size` bytes in memory."""
        with self._waiting(size, among):
            await self._owner.flow.drain()

    @contextmanager
    def _waiting(self, size: int, among: backlog.Backlog) -> Iterator[None]:
        """Wait for the client, with `size` bytes in memory; it may be given up for them."""
        if size <= _JOINED:
            yield
            return
        among.begin(self, size, self._abort)
        try:
            yield
        finally:
            among.end(self)

    def _keep_pace(self, wanted: pace.Pace) -> None:
        self.pace = wanted
        self._owner.wait_for_body(self)

    def _batches(self) -> AsyncIterator[Buffer]:
        return self._owner.batches(self)

    async def _wait_for_news(self) -> None:
        if not self._has_news:
            self._waiter = self._owner.loop.create_future()
            await self._waiter
        self._has_news = False


def _chunk(body: bytes, *, last: bool) -> bytes:
    """Frame a part of an answer whose length was not said."""
    framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return framed + b"0\r\n\r\n" if last else framed
