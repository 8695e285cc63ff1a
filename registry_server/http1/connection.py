"""One client's connection: heads to the parser, bodies to their framing, answers in order.

uvicorn's protocol, stricter about heads. A head of more than HEAD_LIMIT bytes, whole or unfinished,
or of too many lines ends the connection with 431. One that takes longer than HEAD_SECONDS ends it
with 408, as does a body that comes slower than its `Pace`, and what is not HTTP with 400. All are
in the envelope clients expect. Who takes nothing of an answer for STALLED_SECONDS is given up.

The parser reads heads alone, and each has a parser of its own. Where a head ends is found here as
well, and where the two disagree the request is refused: a proxy in front might disagree too. So an
offer to upgrade (RFC 9110 section 7.8), which Java's and curl's clients make on every request, is
ignored as a server may, and its body is read although the parser thinks it is another protocol's.

A client may send many requests before it reads an answer. They stay bytes until their turn: a
connection reads one request in a turn of the event loop, and only when the one before is answered.
While bytes wait nothing more is received. So a connection that pipelines gets no more turns than
any other, and holds no more than the transport delivers at once.
"""

from __future__ import annotations

import asyncio
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

from registry_server import tls_records
from registry_server.http1 import answer_heads, peers, request_heads
from registry_server.http1.direct import Receiver
from registry_server.http1.exchange import Exchange
from registry_server.http1.framing import Framing, FramingError
from registry_server.http1.pace import BodyWatch
from registry_server.http1.request_heads import (
    HEAD_LIMIT,
    HeadInvalid,
    HeadReader,
    HeadTooLong,
    RequestHead,
)
from registry_server.http1.turns import Turns, Work
from registry_server.plain_http import is_plain_http
from storage.buffers import Buffer

logger = logging.getLogger(__name__)

HEAD_SECONDS = 60.0
STALLED_SECONDS = 600.0

_ASGI = {"version": "3.0", "spec_version": "2.3"}
_SPACE = 0x20
_BLANK = b"\r\n\r\n"


class Connection(HttpToolsProtocol):
    """One connection.

    While it is open it has parts that refer back to it. Afterwards they don't: it is freed when the
    last request has ended, and with it what TLS remembers of the client. The garbage collector is
    late, and knows nothing of memory outside of Python.
    """

    _watch: BodyWatch
    _turns: Turns

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = None  # type: ignore[assignment]  # uvicorn's, which refers back
        self.is_plain = True
        self._tls: object = None
        self._proof: peers.Proof | None = None  # by the client's certificate, if it showed one
        self._is_retired = False
        self._is_ending = False
        self._waiting = b""  # received; what lies before `_at` is read
        self._at = 0
        self._turn: asyncio.Handle | None = None  # in which the rest is read
        self._fed = 0  # bytes of an unfinished head
        self._tail = b""  # the last of them, in which a blank line may have begun
        self._reader: HeadReader | None = None  # of that head
        self._framing: Framing | None = None  # of the body that is arriving
        self._receiver: Receiver | None = None  # who receives it, when it is received directly
        self._newest: Exchange | None = None  # whose body it is
        self._current: Exchange | None = None  # the request that is being answered
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        # One timer that looks, now and then, is cheaper than one for each request.
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time."""
        super().connection_made(transport)
        self._watch = BodyWatch(self.loop, self._refuse_slow_body)
        self._turns = Turns(self.loop, self._next_answer, self.tasks)
        self.flow = self._watch.flow(transport)
        self.is_plain = self.scheme == "http"
        if not self.is_plain:
            self._tls = transport.get_extra_info("ssl_object")
            self._proof = peers.proof(transport)
            # A handshake may have begun under certificates that are no longer in force.
            if transport.get_extra_info("sslcontext") is not self.config.ssl:
                self.retire()
        peers.give_up_after(transport, STALLED_SECONDS)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)
        if not self.is_plain and is_plain_http(transport):
            transport.close()  # its answer is on the way; nothing more is read

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is not answered yet."""
        self._end_deadline()
        self._watch.end()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._turns.end()
        self._drop_waiting()
        self._receiver = None
        self.connections.discard(self)
        if self._current is not None:
            self._current.lose()
        self._current = self._newest = None
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read heads and bodies, one after another."""
        is_behind = not self.is_plain and tls_records.begin_turn(self._tls)
        if self._waiting:
            # The transport held this already when it was told to pause.
            self._waiting, self._at = self._waiting[self._at :] + data, 0
            return
        self._waiting = data
        self._read()
        if is_behind and not self.transport.is_closing():
            # Records that wait are decrypted in another turn.
            self.flow.pause_reading()
            self._take_turn_soon()

    def _read(self) -> None:
        """Read what may be read in one turn; what lies behind has to wait."""
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
        """Read the rest of a body, then one request, if it may be answered, and of its body."""
        if self._framing is not None and not self._take_body(self._framing):
            return
        if self._waiting and self._current is None:
            self._take_head()
        if self._waiting and self._framing is not None:
            self._take_body(self._framing)

    def _have_rest_wait(self) -> None:
        """Stop receiving until the rest is read; read on, unless an answer has to end first."""
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
        """Read on in what waits."""
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
        """Tell whether more is to be received while a request is being answered.

        Behind a whole request the next thing may be that the client sends no more, which would end
        the connection before the answer.
        """
        return self._framing is not None and len(exchange.body) <= HIGH_WATER_LIMIT

    def _drop_waiting(self) -> None:
        self._waiting, self._at = b"", 0
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _advance(self, end: int) -> None:
        """Mark what waits before `end` as read."""
        if end == len(self._waiting):
            self._waiting, self._at = b"", 0
        else:
            self._at = end

    def _take_head(self) -> None:
        """Read a head, or a part of one."""
        data, at = self._waiting, self._at
        end = _end_of_head(self._tail, data, at)
        self._advance(end or len(data))
        part = data[at : end or len(data)]
        if end and len(part) <= HEAD_LIMIT and self._reader is None and part[0] > _SPACE:
            self._begin_exchange(request_heads.read(part))
            return
        self._fed += len(part)
        if self._fed > HEAD_LIMIT:
            raise HeadTooLong
        self._take_part(part, is_end=bool(end))

    def _take_part(self, part: bytes, *, is_end: bool) -> None:
        """Read on in a head that comes in parts, or has empty lines before it."""
        if self._reader is None:
            self._reader = HeadReader()
        self._reader.feed(part)
        if self._reader.is_whole:
            if not is_end:
                raise HeadInvalid
            self._begin_exchange(self._reader.result())
            return
        self._tail = (self._tail + part)[-3:]
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _begin_exchange(self, head: RequestHead) -> None:
        """Answer a request: at once, unless some of its body is to be read before."""
        if self._deadline is not None:
            self._end_deadline()
        self._fed, self._tail, self._reader = 0, b"", None
        self._framing = head.framing()
        exchange = self._current = self._newest = Exchange(self, head)
        if self._framing is None:
            exchange.end_of_body()
        else:
            self.wait_for_body(exchange)
        if self._is_retired:
            exchange.keep_alive = False
        self._turns.arrive(alone=self._framing is None or not self._waiting)

    def _scope(self, head: RequestHead) -> Scope:
        """Describe a request as ASGI wants it."""
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
            peers.CERTIFIED: "" if self._proof is None else self._proof.name,
        }

    def _next_answer(self) -> Work | None:
        """Begin with the request that has no answer yet."""
        exchange = self._current
        if exchange is None or self.transport.is_closing():
            return None
        is_valid = self._proof is None or self._proof.holds(time.time())
        return exchange.run(self.app if is_valid else peers.refuse, self._scope(exchange.head))

    def _take_body(self, framing: Framing) -> bool:
        """Pass content on, or discard it when the answer is out; return whether the body has ended.

        If not, either more has to arrive, or the rest is left for another turn.
        """
        waiting = memoryview(self._waiting)[self._at :]
        # Closing the gaps between chunks needs bytes that can be moved.
        arrived = waiting if framing.ahead is not None else memoryview(bytearray(waiting))
        kept, used = framing.take(arrived)
        self._advance(self._at + used)
        exchange = self._newest
        assert exchange is not None
        if not exchange.response_complete:
            exchange.body += arrived[:kept]
            if len(exchange.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            exchange.news()
        if framing.done:
            self._end_body()
        return framing.done

    def _end_body(self) -> None:
        assert self._newest is not None
        self._framing = None
        self._newest.end_of_body()

    async def batches(self, exchange: Exchange) -> AsyncIterator[Buffer]:
        """Receive the rest of a body directly, from the moment the first batch is asked for."""
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
        """Continue with `rest`, which follows the body or, if that has not ended, continues it."""
        self._receiver = None
        if self._framing is not None and self._framing.done:
            self._end_body()
        if rest:
            self.data_received(rest)

    def refuse_body(self, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        """Give up a body that is framed wrongly; whoever reads it finds its client gone."""
        exchange, self._receiver = self._newest, None
        assert exchange is not None
        exchange.lose()
        if exchange.has_begun:
            self.transport.close()
            return
        self._current = None
        self._refuse(status)

    def _refuse_slow_body(self) -> None:
        """Give up a body that drips; what arrived of it counts, as if its client had left."""
        exchange = self._newest
        assert exchange is not None
        if self.transport.is_closing():
            return
        # The path as it was sent has no line breaks.
        path = exchange.head.raw_path.decode("ascii")
        logger.info("the body of %s %s came too slowly", exchange.head.method, path)
        if self._receiver is not None:
            self._receiver.hand_back()
        self.refuse_body(HTTPStatus.REQUEST_TIMEOUT)

    def on_response_complete(self) -> None:
        """Have the next request read, or wait for one."""
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
        """Close the connection, once its last answer is out."""
        if self._current is None and not self._waiting:
            self.transport.close()
            return
        self._is_ending = True
        self._answer_once_more()

    def retire(self) -> None:
        """Make the next answer the last, because the TLS context was replaced.

        It is a refusal if the new context would not accept what the client proved.
        """
        if self.config.ssl is not None and not peers.still_accepted(self._proof, self.config.ssl):
            self._proof = peers.NO_PROOF
        self._answer_once_more()

    def _answer_once_more(self) -> None:
        self._is_retired = True
        if self._current is not None:
            self._current.keep_alive = False

    def let_come(self, exchange: Exchange) -> None:
        """Read on for the body of `exchange`, if that is what comes next."""
        if exchange is self._newest and not self._waiting:
            self.flow.resume_reading()

    def wait_for_body(self, exchange: Exchange) -> None:
        """Hold the body of `exchange` to its pace, once the client is free to send it."""
        if exchange is self._newest and self._framing is not None and not exchange.awaits_continue:
            self._watch.begin(self._framing, exchange.pace)

    @property
    def standing_lines(self) -> bytes:
        """The date."""
        return b"".join([b"%b: %b\r\n" % line for line in self.server_state.default_headers])

    def _refuse(self, status: HTTPStatus) -> None:
        """Take nothing more, and end with a refusal."""
        if not self.transport.is_closing():
            self.transport.write(answer_heads.refusal(status))
            self.transport.close()

    def _too_slow(self) -> None:
        self._deadline = None
        if self._fed:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif not self.transport.is_closing():
            self.transport.close()

    def _wait_for_request(self, seconds: float) -> None:
        self._idle_timer = self.loop.call_later(seconds, self._look_whether_idle)

    def _look_whether_idle(self) -> None:
        """End a connection that nobody has used for long."""
        self._idle_timer = None
        if self._current or self._fed or self.transport.is_closing():
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


def _end_of_head(tail: bytes, data: bytes, at: int) -> int:
    """Return the position behind the first blank line of `data` from `at` on; 0 without one.

    The line may begin in `tail`, which came before.
    """
    seam = (tail + data[at : at + 3]).find(_BLANK) if tail else -1
    if seam >= 0:
        return at + seam + len(_BLANK) - len(tail)
    start = data.find(_BLANK, at)
    return start + len(_BLANK) if start >= 0 else 0


async def _arrived(exchange: Exchange) -> AsyncIterator[Buffer]:
    """Yield a body as events bring it."""
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
