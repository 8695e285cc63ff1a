"""The answer to plain HTTP on a port that speaks TLS, in the words Go's servers use.

A client that was given `http://` for `https://` gets them: docker and curl print them. They are
sent before any handshake and whatever certificates are asked for; nothing the client sent is read
as a request. The first five bytes tell, as in Go; a good connection pays for one look at them.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import BaseTransport

SENTENCE = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

_BEGINNINGS = frozenset({b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"})
_ENOUGH = 5


class Context(ssl.SSLContext):
    """A context for servers whose connections notice plain HTTP."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection over buffers, as event loops do."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, _Noticing):
            made.incoming, made.outgoing = incoming, outgoing
        return made


class _Noticing(ssl.SSLObject):
    """One side of a connection; after plain HTTP it is over, and holds the answer to be sent."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    is_plain_http = False
    _is_known = False

    def do_handshake(self) -> None:
        """Shake hands, unless the client speaks HTTP; then it looks as if that was done."""
        if not self._is_known:
            self._look()
        if not self.is_plain_http:
            super().do_handshake()

    def _look(self) -> None:
        if self.incoming.pending < _ENOUGH and not self.incoming.eof:
            raise ssl.SSLWantReadError
        self._is_known = True
        received = self.incoming.read()
        if received[:_ENOUGH] in _BEGINNINGS:
            self.is_plain_http = True
            self.outgoing.write(SENTENCE)
        else:
            self.incoming.write(received)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the client's certificate; none after plain HTTP."""
        return None if self.is_plain_http else super().getpeercert(binary_form)

    def unwrap(self) -> Any:
        """End TLS; there is none after plain HTTP."""
        return None if self.is_plain_http else super().unwrap()


Context.sslobject_class = _Noticing


def is_plain_http(transport: BaseTransport) -> bool:
    """Tell whether a connection was to be TLS, and the client spoke HTTP."""
    found = transport.get_extra_info("ssl_object")
    return isinstance(found, _Noticing) and found.is_plain_http
