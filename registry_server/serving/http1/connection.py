"""One client connection: parses heads, frames bodies and answers requests in order.

This is uvicorn's protocol class with stricter rules for heads. The connection ends with

- 431 after a head of more than HEAD_LIMIT bytes (even if incomplete) or of too many lines,
- 408 after a head that takes longer than HEAD_SECONDS, or a body slower than its `Pace`,
- 400 after bytes that are not HTTP.

All three have the registry's JSON error body. A client that reads nothing of a response for
STALLED_SECONDS is disconnected.

The parser gets only heads, and a new parser is used for each. The connection finds the end of a
head itself and refuses a request when the parser disagrees: a proxy in front might disagree too.
So an upgrade offer (RFC 9110 section 7.8), which clients in Java and curl make on every request, is
ignored as the RFC permits, and the body is read although the parser assumes another protocol.

A client may pipeline requests. The connection reads one request in an iteration of the event loop,
and only after the response before it is complete. While unread bytes wait, receiving is paused. So
a connection that pipelines gets no more iterations than any other, and buffers no more than the
transport delivers in one call.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Scope
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from registry_server.http.extensions import CERTIFICATE_NAME
from registry_server.logs import LONGEST_PATH, cut
from registry_server.serving.http1 import answer_heads, peers
from registry_server.serving.http1.direct import Receiver
from registry_server.serving.http1.exchange import Exchange
from registry_server.serving.http1.framing import Framing, FramingError
from registry_server.serving.http1.incoming_head import IncomingHead
from registry_server.serving.http1.pace import BodyWatch
from registry_server.serving.http1.request_heads import (
    HeadInvalid,
    HeadTooLong,
    RequestHead,
)
from registry_server.serving.tls import records
from registry_server.serving.tls.plain_http import is_plain_http
from storage.values.buffers import Buffer

logger = logging.getLogger(__name__)

HEAD_SECONDS = 60.0
STALLED_SECONDS = 600.0

_ASGI = {"version": "3.0", "spec_version": "2.3"}


class Connection(HttpToolsProtocol):
    """One connection.

    An open connection has reference cycles; `connection_lost` breaks them. So the connection and
    the memory of its TLS session are freed when the last request ends, not when Python's garbage
    collector runs, which does not see memory that OpenSSL allocated.
    """

    _watch: BodyWatch

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = None  # type: ignore[assignment]  # uvicorn's makes a reference cycle
        self.is_plain = True
        self._tls: object = None
        self._proof: peers.Proof | None = None  # None without a client certificate
        self._context = contextvars.copy_context()  # each request gets a copy
        self._task: asyncio.Task[None] | None = None  # of the request that is being answered
        self._is_retired = False
        self._is_ending = False
        self._waiting = b""  # received bytes; those before `_at` have been read
        self._at = 0
        self._turn: asyncio.Handle | None = None  # the scheduled read of the rest
        self._incoming = IncomingHead()
        self._framing: Framing | None = None  # of the body that is arriving
        self._receiver: Receiver | None = None  # of that body, when it is received directly
        self._newest: Exchange | None = None  # the request that the body belongs to
        self._current: Exchange | None = None  # the request that is being answered
        self._deadline: asyncio.TimerHandle | None = None  # of the head
        self._idle_since = 0.0
        # One periodic timer is cheaper than one timer a request.
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Set the connection up and start the timer for the first head."""
        super().connection_made(transport)
        self._watch = BodyWatch(self.loop, self._refuse_slow_body)
        self.flow = self._watch.flow(transport)
        self.is_plain = self.scheme == "http"
        if not self.is_plain:
            self._tls = transport.get_extra_info("ssl_object")
            self._proof = peers.proof(transport)
            # The TLS context may have been replaced during the handshake.
            if transport.get_extra_info("sslcontext") is not self.config.ssl:
                self.retire()
        peers.set_user_timeout(transport, STALLED_SECONDS)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)
        if not self.is_plain and is_plain_http(transport):
            transport.close()  # the TLS layer has written the response; nothing more is read

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers and report the disconnect to the request in progress."""
        self._end_deadline()
        self._incoming.drop()
        self._watch.end()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._drop_waiting()
        self._receiver = None
        self.connections.discard(self)
        if self._current is not None:
            self._current.disconnect()
        self._current = self._newest = None
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read heads and bodies in order."""
        is_behind = not self.is_plain and records.begin_turn(self._tls)
        if self._waiting:
            # The transport had received this before reading was paused.
            self._waiting, self._at = self._waiting[self._at :] + data, 0
            self._hold_more(len(data))
            return
        self._waiting = data
        self._read()
        if self._waiting:
            self._hold_more(len(self._waiting))
        if is_behind and not self.transport.is_closing():
            # The remaining TLS records are decrypted in the next iteration.
            self.flow.pause_reading()
            self._take_turn_soon()

    def _hold_more(self, size: int) -> None:
        if self._current is not None:
            self._current.hold_more(size)

    def _read(self) -> None:
        """Read what one iteration of the event loop may read; keep the rest."""
        if self.transport.is_closing():
            self._drop_waiting()
            return
        try:
            self._read_request()
        except HeadTooLong:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except HeadInvalid:
            self._refuse(HTTPStatus.BAD_REQUEST)
        except FramingError:
            self.refuse_body()
        if self._waiting:
            self._have_rest_wait()

    def _read_request(self) -> None:
        """Read the rest of the current body, then at most one head and the start of its body."""
        if self._framing is not None and not self._take_body(self._framing):
            return
        if self._waiting and self._current is None:
            self._take_head()
        if self._waiting and self._framing is not None:
            self._take_body(self._framing)

    def _have_rest_wait(self) -> None:
        """Pause receiving until the rest is read; schedule that unless a response is pending."""
        if self.transport.is_closing():
            self._drop_waiting()
            return
        self.flow.pause_reading()
        if self._framing is not None or self._current is None:
            self._take_turn_soon()

    def _take_turn_soon(self) -> None:
        if self._turn is None:
            self._turn = self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        """Continue with the bytes that wait."""
        self._turn = None
        if self._waiting:
            self._read()
        if self._waiting or self.transport.is_closing():
            return
        if self._is_ending and self._current is None:
            self.transport.close()
        elif self._current is None or self._is_wanted(self._current):
            self.flow.resume_reading()

    def _is_wanted(self, exchange: Exchange) -> bool:
        """Return whether to receive more while a request is being answered.

        Not after a complete request: the client may have shut down its sending side, and receiving
        that would close the connection before the response.
        """
        return self._framing is not None and len(exchange.body) <= HIGH_WATER_LIMIT

    def _drop_waiting(self) -> None:
        self._waiting, self._at = b"", 0
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _advance(self, end: int) -> None:
        """Mark the waiting bytes before `end` as read."""
        if end == len(self._waiting):
            self._waiting, self._at = b"", 0
        else:
            self._at = end

    def _take_head(self) -> None:
        """Read a complete head or a part of one."""
        head, end = self._incoming.take(self._waiting, self._at, self.transport)
        self._advance(end)
        if head is not None:
            self._begin_exchange(head)
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _begin_exchange(self, head: RequestHead) -> None:
        """Start to answer a request, after the application has returned from the one before."""
        if self._deadline is not None:
            self._end_deadline()
        exchange = self._current = self._newest = Exchange(self, head)
        self._framing = exchange.framing
        if self._framing is None:
            exchange.end_of_body()
        else:
            self.watch_pace(exchange)
        if self._is_retired:
            exchange.keep_alive = False
        if self._task is None:
            self._start_task(exchange)

    def _scope(self, head: RequestHead) -> Scope:
        """Return the ASGI scope of a request."""
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": head.version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "method": head.method,
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "headers": head.headers,
            "state": self.app_state.copy(),
            CERTIFICATE_NAME: "" if self._proof is None else self._proof.name,
        }

    def _start_task(self, exchange: Exchange) -> None:
        """Answer a request in its own task and context.

        The context is explicit, because this may run in the context of the request before.
        """
        work = self._answer(exchange)
        task = self._task = self.loop.create_task(work, context=self._context.copy())
        self.tasks.add(task)
        task.add_done_callback(self._end_task)

    def _end_task(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._task = None
        if self._current is not None and not self.transport.is_closing():
            self._start_task(self._current)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange is not self._current or self.transport.is_closing():
            return  # the client disconnected, or its body was refused
        is_valid = self._proof is None or self._proof.holds(time.time())
        await exchange.run(self.app if is_valid else peers.refuse, self._scope(exchange.head))

    def _take_body(self, framing: Framing) -> bool:
        """Pass content to the exchange, or discard it after the response; return True at the end.

        Otherwise more has to arrive, or the rest is left for the next iteration.
        """
        waiting = memoryview(self._waiting)[self._at :]
        # A chunked body is compacted in place, which needs a writable buffer.
        arrived = waiting if framing.ahead is not None else memoryview(bytearray(waiting))
        kept, used = framing.take(arrived)
        self._advance(self._at + used)
        exchange = self._newest
        assert exchange is not None
        if not exchange.response_complete:
            exchange.body += arrived[:kept]
            if len(exchange.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            exchange.wake_receive()
        if framing.done:
            self._end_body()
        return framing.done

    def _end_body(self) -> None:
        assert self._newest is not None
        self._framing = None
        self._newest.end_of_body()

    async def batches(self, exchange: Exchange) -> AsyncIterator[Buffer]:
        """Receive the rest of a body directly; this starts when the first batch is requested."""
        framing, is_newest = self._framing, exchange is self._newest
        receiver = None
        if framing is not None and is_newest and not exchange.disconnected and not self._waiting:
            receiver = Receiver(self, self.transport, framing, exchange.take_body())
            self._receiver = receiver
            receiver.begin()
            async for batch in receiver:
                yield batch
        if receiver is None or receiver.gave_up:
            async for event in _arrived(exchange):
                yield event

    def take_back(self, rest: bytes) -> None:
        """Continue with `rest`: what follows the body, or more of it if it has not ended."""
        self._receiver = None
        if self._framing is not None and self._framing.done:
            self._end_body()
        if rest:
            self.data_received(rest)

    def refuse_body(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        """Refuse a body with invalid framing; its reader gets a disconnect."""
        exchange, self._receiver = self._newest, None
        assert exchange is not None
        exchange.disconnect()
        if exchange.has_begun:
            self.transport.close()
            return
        self._current = None
        self._refuse(status, exchange.id_line)

    def _refuse_slow_body(self) -> None:
        """Refuse a body that arrives too slowly; what arrived is kept, as after a disconnect."""
        exchange = self._newest
        assert exchange is not None
        if self.transport.is_closing():
            return
        # The parser admits no line breaks in the raw path.
        path = cut(exchange.head.raw_path.decode("ascii"), LONGEST_PATH)
        logger.info(
            "the body of %s %s timed out: it arrived too slowly", exchange.head.method, path
        )
        if self._receiver is not None:
            self._receiver.hand_back()
        self.refuse_body(HTTPStatus.REQUEST_TIMEOUT)

    def on_response_complete(self) -> None:
        """Read the next request, or wait for one."""
        self.server_state.total_requests += 1
        self._current = None
        if self.transport.is_closing():
            return
        if self._receiver is not None:
            self._receiver.hand_back()
            self._receiver = None
        if self._waiting:
            self._have_rest_wait()
        else:
            self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self._idle_timer is None:
            self._wait_for_request(self.timeout_keep_alive)

    def shutdown(self) -> None:
        """Close the connection after the response in progress, or now if there is none."""
        if self._current is None and not self._waiting:
            self.transport.close()
            return
        self._is_ending = True
        self._answer_once_more()

    def retire(self) -> None:
        """Close the connection after the next response, because the TLS context was replaced.

        That response is a refusal if the new context does not accept the client's certificate.
        """
        if self.config.ssl is not None and not peers.still_accepted(self._proof, self.config.ssl):
            self._proof = peers.NO_PROOF
        self._answer_once_more()

    def _answer_once_more(self) -> None:
        self._is_retired = True
        if self._current is not None:
            self._current.keep_alive = False

    def resume_body(self, exchange: Exchange) -> None:
        """Resume receiving if the body of `exchange` is what arrives next."""
        if exchange is self._newest and not self._waiting:
            self.flow.resume_reading()

    def watch_pace(self, exchange: Exchange) -> None:
        """Enforce the pace of the body of `exchange` once the client may send it."""
        if exchange is self._newest and self._framing is not None and not exchange.awaits_continue:
            self._watch.begin(self._framing, exchange.pace)

    @property
    def unread(self) -> int:
        """Return how many bytes were received and wait to be read."""
        return len(self._waiting)

    @property
    def standing_lines(self) -> bytes:
        """Return the header lines that uvicorn adds to every response, such as the date."""
        return b"".join([b"%b: %b\r\n" % line for line in self.server_state.default_headers])

    def _refuse(self, status: HTTPStatus, id_line: bytes = b"") -> None:
        """Send an error response and close the connection.

        A head that can't be read has no request id: no line of a log would have it.
        """
        if not self.transport.is_closing():
            self.transport.write(answer_heads.refusal(status, id_line))
            self.transport.close()

    def _too_slow(self) -> None:
        self._deadline = None
        if self._incoming.arrived:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif not self.transport.is_closing():
            self.transport.close()

    def _wait_for_request(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """Close the connection after `timeout_keep_alive` seconds without a request."""
        self._idle_timer = None
        if self._current or self._incoming.arrived or self.transport.is_closing():
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_for_request(left)
        else:
            self.transport.close()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


async def _arrived(exchange: Exchange) -> AsyncIterator[Buffer]:
    """Yield the body that ASGI's events carry."""
    more = True
    while more:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            if exchange.body:
                yield exchange.take_body()
            raise ClientDisconnect
        if message["body"]:
            yield message["body"]
        more = message["more_body"]
