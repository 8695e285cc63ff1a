"""uvicorn's HTTP/1.1 protocol with a limit on the head of a request, and no upgrades.

The parser itself keeps collecting a header that never ends. Here a head of more than HEAD_LIMIT
bytes, whole or unfinished, ends the connection with 431, and a request that is not HTTP ends it
with 400, both in the envelope clients expect.

A server may ignore an offer to upgrade (RFC 9110 section 7.8), and Java's and curl's clients offer
h2c on every request. The parser takes an offer for a deal and drops the body, which here would be
part of somebody's image. So the offer is made illegible before it is parsed; where a packet ends
in its midst, the request is refused.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from registry_server import envelope

HEAD_LIMIT = 64 << 10

_OFFER = re.compile(rb"\r\nUpgrade(?=[ \t]*:)", re.IGNORECASE)


class HeadTooLarge(Exception):
    """The head of a request is over HEAD_LIMIT."""


class UpgradeOffered(Exception):
    """The parser is about to drop the body of a request that offers an upgrade."""


class RegistryProtocol(HttpToolsProtocol):
    """One connection."""

    _head = 0
    _in_head = True
    _messages = 0
    _refusal = HTTPStatus.BAD_REQUEST

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and give up on a head that goes on and on."""
        in_head, messages = self._in_head, self._messages
        super().data_received(_without_offer(data) if in_head and not self._head else data)
        # Only what lies within one unfinished head counts, not the requests before it in `data`.
        if in_head and self._in_head and messages == self._messages:
            self._head += len(data)
            if self._head > HEAD_LIMIT and not self.transport.is_closing():
                self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Start counting."""
        super().on_message_begin()
        self._head = 0
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
        if self.parser.should_upgrade():
            raise UpgradeOffered
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes next is the head of another request."""
        self._in_head = True
        self._head = 0
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
        """An exception in a callback stops the parser, and uvicorn refuses the request."""
        self._head += size
        if self._head > HEAD_LIMIT:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise HeadTooLarge


def _without_offer(data: bytes) -> bytes:
    """Rename the Upgrade header of the head that `data` begins with."""
    end = data.find(b"\r\n\r\n")
    head = data if end < 0 else data[:end]
    renamed, offers = _OFFER.subn(b"\r\nX-Offer", head)
    return renamed + data[len(head) :] if offers else data
