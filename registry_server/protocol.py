"""uvicorn's HTTP/1.1 protocol, stricter about the head of a request, and without upgrades.

The parser itself keeps collecting a header that never ends. Here a head of more than HEAD_LIMIT
bytes, whole or unfinished, ends the connection with 431, one that takes longer than HEAD_SECONDS
with 408, and a request that is not HTTP with 400, all in the envelope clients expect. HTTP/1.1
wants exactly one Host (RFC 9112 section 3.2), and a transfer coding other than chunked would be
stored as if it were content.

A server may ignore an offer to upgrade (RFC 9110 section 7.8), and Java's and curl's clients offer
h2c on every request. The parser takes an offer for a deal and drops the body, which here would be
part of somebody's image. So the offer is made illegible before it is parsed; where a packet ends
in its midst, the request is refused.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from registry_server import envelope

HEAD_LIMIT = 64 << 10
HEAD_SECONDS = 60.0

_OFFER = re.compile(rb"\r\nUpgrade(?=[ \t]*:)", re.IGNORECASE)


class HeadRefused(Exception):
    """Raised in a callback of the parser, which stops it; the connection ends with a refusal."""


class RegistryProtocol(HttpToolsProtocol):
    """One connection."""

    _fed = 0  # bytes of packets that lie within an unfinished head
    _parsed = 0  # bytes of the target and the headers so far
    _in_head = True
    _messages = 0
    _refusal = HTTPStatus.BAD_REQUEST
    _deadline: asyncio.TimerHandle | None = None
    _cycles: tuple[RequestResponseCycle, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first head its time."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request that is being answered; uvicorn tells the newest."""
        self._end_deadline()
        for cycle in self._cycles:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and give up on a head that goes on and on."""
        in_head, messages = self._in_head, self._messages
        super().data_received(_without_offer(data) if in_head and not self._fed else data)
        # Only what lies within one unfinished head counts, not the requests before it in `data`.
        if in_head and self._in_head and messages == self._messages:
            self._fed += len(data)
            if self._fed > HEAD_LIMIT:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self._in_head and self._parsed and self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def on_message_begin(self) -> None:
        """Start counting."""
        super().on_message_begin()
        self._in_head = True
        self._messages += 1

    def on_url(self, url: bytes) -> None:
        """Count the target's bytes."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header's bytes."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop counting: what follows is the body."""
        self._in_head = False
        self._end_deadline()
        if self.parser.should_upgrade() or not _is_sound(self.parser, self.headers):
            raise HeadRefused
        super().on_headers_complete()
        going_on = (cycle for cycle in self._cycles if not cycle.response_complete)
        self._cycles = (*going_on, self.cycle)

    def on_message_complete(self) -> None:
        """What comes next is the head of another request."""
        self._in_head = True
        self._fed = self._parsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse and close; uvicorn calls this for whatever the parser refuses."""
        status = self._refusal
        message = f"{status.phrase.lower()}: not a valid request"
        body = envelope.body([envelope.entry("UNSUPPORTED", message)])
        head = b"".join(b"%s: %s\r\n" % header for header in envelope.last_headers(body))
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self.transport.write(line + head + b"\r\n" + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD_LIMIT:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise HeadRefused

    def _too_slow(self) -> None:
        self._deadline = None
        if self._parsed or self._fed:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif not self.transport.is_closing():
            self.transport.close()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        if not self.transport.is_closing():
            self._refusal = status
            self.send_400_response("")


def _is_sound(parser: HttpRequestParser, headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether there is the one Host HTTP/1.1 wants, and no coding but chunked."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return False
    return hosts == 1 or (hosts == 0 and parser.get_http_version() == "1.0")


def _without_offer(data: bytes) -> bytes:
    """Rename the Upgrade header of the head that `data` begins with."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    renamed, offers = _OFFER.subn(b"\r\nX-Offer", head)
    return renamed + data[len(head) :] if offers else data
