"""Answers plain HTTP on a TLS port with the sentence that Go's servers send.

docker and curl print it when the user wrote `http://` instead of `https://`. The first five bytes
decide, as in Go. The sentence replaces the handshake, so no client certificate is needed. The bytes
are not parsed as a request.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from registry_server.http import envelope
from registry_server.serving.tls.records import TurnReader

if TYPE_CHECKING:
    from asyncio import BaseTransport

SENTENCE = (
    b"HTTP/1.0 400 Bad Request\r\n%b: %b\r\n\r\n" % envelope.NO_SNIFF
    + b"Client sent an HTTP request to an HTTPS server.\n"
)

_BEGINNINGS = frozenset({b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"})
_ENOUGH = 5


class Context(ssl.SSLContext):
    """A context for servers whose connections detect plain HTTP."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Start a TLS session over memory buffers; event loops call this."""
        passed_on = ssl.MemoryBIO()
        tls = super().wrap_bio(passed_on, outgoing, server_side, server_hostname, session)
        assert isinstance(tls, _TlsOrPlainHttp)
        tls.arrived, tls.passed_on, tls.outgoing = incoming, passed_on, outgoing
        return tls


class _TlsOrPlainHttp(TurnReader):
    """The server's side of a connection; for plain HTTP it only writes the sentence."""

    outgoing: ssl.MemoryBIO
    is_plain_http = False
    _is_known = False

    def do_handshake(self) -> None:
        """Continue the handshake; after plain HTTP return as if it was complete."""
        if not self._is_known:
            self._detect()
        if not self.is_plain_http:
            super().do_handshake()

    def _detect(self) -> None:
        if self.arrived.pending < _ENOUGH and not self.arrived.eof:
            raise ssl.SSLWantReadError
        self._is_known = True
        received = self.arrived.read()
        if received[:_ENOUGH] in _BEGINNINGS:
            self.is_plain_http = True
            self.outgoing.write(SENTENCE)
        else:
            self.arrived.write(received)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the client's certificate; None after plain HTTP."""
        return None if self.is_plain_http else super().getpeercert(binary_form)

    def unwrap(self) -> Any:
        """Close the TLS session; do nothing after plain HTTP."""
        return None if self.is_plain_http else super().unwrap()


Context.sslobject_class = _TlsOrPlainHttp


def is_plain_http(transport: BaseTransport) -> bool:
    """Return True if the client of a TLS connection sent plain HTTP."""
    tls = transport.get_extra_info("ssl_object")
    return isinstance(tls, _TlsOrPlainHttp) and tls.is_plain_http
