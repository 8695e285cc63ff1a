"""A TLS client that renews its keys, which Python's `ssl` has no call for; it needs no socket."""

from __future__ import annotations

import ctypes
import ctypes.util
import ssl
from typing import Any

_PIECE = 1 << 16
_NOT_REQUESTED = 0


def _library(name: str) -> Any:
    return ctypes.CDLL(ctypes.util.find_library(name))


def _pointer(function: Any, *args: Any) -> ctypes.c_void_p:
    function.restype = ctypes.c_void_p
    return ctypes.c_void_p(function(*args))


class KeyRenewingClient:
    """Shakes hands with a server over `up`, what it sends, and `down`, what it receives."""

    def __init__(self, up: ssl.MemoryBIO, down: ssl.MemoryBIO) -> None:
        self._up, self._down = up, down
        self._ssl, self._crypto = _library("ssl"), _library("crypto")
        method = _pointer(self._ssl.TLS_client_method)
        self._tls = _pointer(self._ssl.SSL_new, _pointer(self._ssl.SSL_CTX_new, method))
        memory = _pointer(self._crypto.BIO_s_mem)
        self._received = _pointer(self._crypto.BIO_new, memory)
        self._sent = _pointer(self._crypto.BIO_new, memory)
        self._ssl.SSL_set_bio(self._tls, self._received, self._sent)
        self._ssl.SSL_set_connect_state(self._tls)

    def do_handshake(self) -> bool:
        """Go on with the handshake; return whether it is done."""
        received = self._down.read()
        self._crypto.BIO_write(self._received, received, len(received))
        is_done: bool = self._ssl.SSL_do_handshake(self._tls) == 1
        self._flush()
        return is_done

    def renew_keys(self) -> None:
        """Send a KeyUpdate (RFC 8446, section 4.6.3)."""
        assert self._ssl.SSL_key_update(self._tls, _NOT_REQUESTED) == 1
        assert self.do_handshake()

    def write(self, content: bytes) -> None:
        """Send some content in one record."""
        assert self._ssl.SSL_write(self._tls, content, len(content)) == len(content)
        self._flush()

    def _flush(self) -> None:
        piece = ctypes.create_string_buffer(_PIECE)
        while (size := self._crypto.BIO_read(self._sent, piece, _PIECE)) > 0:
            self._up.write(piece.raw[:size])
