"""One request and its response: ASGI's `receive` and `send` on a connection.

The head of a response is held until the first part of its body, as ASGI requires. Both are written
together: one system call, and one packet instead of two that would wake the client twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from http import HTTPStatus
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope
from uvicorn.protocols.http.flow_control import FlowControl

from registry_server.http import envelope, extensions
from registry_server.serving.http1 import backlog, pace, zerocopy
from registry_server.serving.http1.answer_heads import (
    ClosingAnswer,
    Header,
    answer_head,
    cached_answer_head,
    closing_answer,
)
from registry_server.serving.http1.backlog import ClientWait
from registry_server.serving.http1.request_heads import RequestHead
from storage.concurrency.memory_exhaustion import exit_process
from storage.values.buffers import Buffer

logger = logging.getLogger(__name__)

# Bytes; joining a larger body with its head costs more than a second write.
_JOINED = 64 << 10
# Bytes; a larger body is written in parts of this size, each after the client has taken the one
# before. Files are also read in parts of this size.
_PART = 1 << 20
# A head that waits is in memory this many times: in the scope, its headers and the parsed path.
_COPIES = 4
# One for each process.
BACKLOG = backlog.Backlog()
# Also one for each process, for responses that are produced in parts, such as blobs over TLS. A
# wait is for one part, which a modem must be able to receive in this time.
STREAMS = backlog.Backlog(seconds=60.0)
# Rendered at import, because there may be no memory to render them later.
_FAILED = closing_answer(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    envelope.body([envelope.entry("UNKNOWN", "the registry failed")]),
)
_NO_MEMORY = closing_answer(
    HTTPStatus.SERVICE_UNAVAILABLE,
    envelope.body([envelope.entry("UNKNOWN", "the registry is out of memory")]),
)
_EXTENSIONS: Scope = {"http.response.zerocopysend": {}} if zerocopy.SUPPORTED else {}


class Owner(Protocol):
    """The connection of an exchange."""

    transport: asyncio.Transport
    flow: FlowControl
    loop: asyncio.AbstractEventLoop
    # Whether bytes may bypass the transport; not under TLS.
    is_plain: bool

    @property
    def unread(self) -> int:
        """The bytes that were received after the request and wait in memory."""

    @property
    def standing_lines(self) -> bytes:
        """The header lines of every response."""

    def batches(self, exchange: Exchange) -> AsyncIterator[Buffer]:
        """Receive the rest of the body of `exchange` directly."""

    def resume_body(self, exchange: Exchange) -> None:
        """Resume receiving for the body of `exchange`."""

    def watch_pace(self, exchange: Exchange) -> None:
        """Enforce the pace of the body of `exchange`."""

    def on_response_complete(self) -> None:
        """Continue with the next request."""


class Exchange:
    """A request, the part of its body that has arrived, and the state of its response."""

    def __init__(self, owner: Owner, head: RequestHead) -> None:
        self.head = head
        self.framing = head.framing()  # of the body; None if there is none
        self.keep_alive = head.keep_alive
        self.body = bytearray()
        self.more_body = True
        self.awaits_continue = head.awaits_continue
        self.pace = pace.DEFAULT
        self.disconnected = False
        self.has_begun = False  # part of the response was written
        self.response_complete = False
        self.id_line = b""  # the header line with the request id
        self._request_id = ""
        self._owner = owner
        self._is_head = head.method == "HEAD"
        self._has_news = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # rendered, not written yet
        self._left: int | None = None  # bytes still due by Content-Length; None if chunked
        self._sender: zerocopy.SocketSender | None = None
        self._wait: ClientWait | None = None  # the latest, for the client to take bytes
        self._held = 0  # bytes of the body that the application holds in memory

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Call `app`; if it does not complete the response, send an error or close."""
        if self._owner.is_plain:
            scope["extensions"] = {extensions.BODY_BUFFERS: self._batches, **_EXTENSIONS}
        scope[extensions.SET_REQUEST_ID] = self._set_request_id
        if self.framing is not None:
            scope[extensions.RECEIVED] = self._received
        if self.more_body:
            scope[extensions.SET_PACE] = self._set_pace
            scope[extensions.REPORT_HELD] = self._report_held
        answer = _FAILED
        try:
            await app(scope, self.receive, self.send)
        except MemoryError:
            answer = _NO_MEMORY
        except Exception:
            extra = {"request": self._request_id}
            logger.exception("unhandled exception in the application", extra=extra)
        finally:
            if not self.response_complete and not self.disconnected:
                self._give_up(answer)

    def wake_receive(self) -> None:
        """Wake `receive`: part of the body or its end arrived, or the client disconnected."""
        self._has_news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end_of_body(self) -> None:
        """Record that the body is complete."""
        self.more_body = False
        self.wake_receive()

    def take_body(self) -> bytearray:
        """Return what has arrived so far; the rest is received directly."""
        self.send_continue()
        body, self.body = self.body, bytearray()
        return body

    def disconnect(self) -> None:
        """Record that the client has disconnected."""
        self.disconnected = True
        self.wake_receive()
        if self._sender is not None:
            self._sender.disconnect()

    def send_continue(self) -> None:
        """Send 100 Continue if the client waits for it (RFC 9110 section 10.1.1)."""
        if not self.awaits_continue:
            return
        self.awaits_continue = False
        if not self._owner.transport.is_closing():
            self._owner.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._owner.watch_pace(self)

    async def receive(self) -> Message:
        """Return the next part of the body, or a disconnect (ASGI)."""
        self.send_continue()
        if not self.disconnected and not self.response_complete:
            self._owner.resume_body(self)
            if self.more_body:
                with ClientWait(BACKLOG, self._held + self._head_cost(), self._abort):
                    await self._wait_for_news()
            else:
                await self._wait_for_news()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Send a part of the response (ASGI); do nothing after a disconnect."""
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
            raise RuntimeError(f"the application sent {kind}, which is not supported")

    def _begin(self, status: int, headers: Iterable[Header]) -> None:
        render = cached_answer_head if self.head.is_short else answer_head
        rendered, self._left, self.keep_alive = render(
            status, tuple(headers), bodiless=self._is_head, keep_alive=self.keep_alive
        )
        self._head = b"%b%b%b\r\n" % (rendered, self.id_line, self._owner.standing_lines)
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
            await self._end(len(body))

    async def _send_large(self, body: bytes, *, more: bool) -> None:
        """Send a body in parts, each after the client has taken the one before."""
        start = 0
        while len(body) - start > _PART:
            self._send_body(body[start : start + _PART], more=True)
            if self._owner.flow.write_paused:
                await self._drain(len(body), BACKLOG)
            if self.disconnected:
                return
            start += _PART
        self._send_body(body[start:], more=more)
        if not more:
            await self._end(len(body))

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
                logger.error("could not send a file: %s", error)
            self._abort()
            return
        if sent < count:
            logger.error("a file was truncated while it was sent")
            self._abort()
        elif not message.get("more_body", False):
            self._complete()

    async def _send_past(self, file: int, offset: int, count: int) -> int:
        """Send with `sendfile`, after the transport has flushed its buffer."""
        await self._flushed()
        self._sender = zerocopy.SocketSender(
            self._owner.loop, self._owner.transport, lambda: self._waiting(0, STREAMS)
        )
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
                await self._drain(self._unsent(), STREAMS)
            finally:
                if not self.disconnected:
                    transport.set_write_buffer_limits()
        if self.disconnected:
            raise ConnectionResetError("the client has disconnected")

    def _count(self, size: int) -> None:
        if self._left is None or size > self._left:
            raise RuntimeError("the response is longer than its Content-Length")
        self._left -= size

    async def _end(self, held: int) -> None:
        """Complete the response, whose body holds `held` bytes, once the client took most of it.

        No further request is read before: its response would wait in memory.
        """
        if self._owner.flow.write_paused:
            await self._drain(self._unsent() + held, BACKLOG)
            if self.disconnected:
                return
        self._complete()

    def _complete(self) -> None:
        if self._left:
            raise RuntimeError("the response is shorter than its Content-Length")
        self.response_complete = True
        self.wake_receive()
        if not self.keep_alive:
            self._owner.transport.close()
        self._owner.on_response_complete()

    def _abort(self) -> None:
        """Abort the connection in the middle of a response; buffered bytes are dropped."""
        self._owner.transport.abort()
        self.disconnect()

    def _give_up(self, answer: ClosingAnswer) -> None:
        """Send `answer` if no response has begun, and close the connection."""
        try:
            if not self.has_begun:
                self._owner.transport.write(answer.with_line(self.id_line))
            self.has_begun = self.response_complete = True
            self._owner.transport.close()
        except MemoryError:
            exit_process()  # otherwise this client would wait without limit

    def _report_held(self, size: int) -> None:
        self._held = size

    def _unsent(self) -> int:
        """Return how many bytes wait in the transport's buffer."""
        return self._owner.transport.get_write_buffer_size()

    async def _drain(self, size: int, among: backlog.Backlog) -> None:
        """Wait until the transport's buffer has drained, while `size` bytes are in memory."""
        with self._waiting(size, among):
            await self._owner.flow.drain()

    def _waiting(self, size: int, among: backlog.Backlog) -> ClientWait:
        """Return a wait for the client to take bytes, with `size` bytes of the response."""
        self._wait = ClientWait(among, size + self._head_cost() + self._owner.unread, self._abort)
        return self._wait

    def hold_more(self, size: int) -> None:
        """Count the `size` bytes that the client has sent after this request, if it waits."""
        if self._wait is not None:
            self._wait.grow(size)

    def _head_cost(self) -> int:
        return 0 if self.head.is_short else _COPIES * self.head.size

    def _set_request_id(self, id: str) -> None:
        self._request_id = id
        self.id_line = b"x-request-id: %b\r\n" % id.encode("ascii")

    def _received(self) -> int:
        return 0 if self.framing is None else self.framing.content

    def _set_pace(self, wanted: extensions.Pace) -> None:
        self.pace = wanted
        self._owner.watch_pace(self)

    def _batches(self) -> AsyncIterator[Buffer]:
        return self._owner.batches(self)

    async def _wait_for_news(self) -> None:
        if not self._has_news:
            self._waiter = self._owner.loop.create_future()
            await self._waiter
        self._has_news = False


def _chunk(body: bytes, *, last: bool) -> bytes:
    """Frame a part of a response without Content-Length."""
    framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return framed + b"0\r\n\r\n" if last else framed
