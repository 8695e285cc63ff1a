"""Limits how much TLS data is decrypted in one iteration of the event loop.

An event loop decrypts all that has arrived before it does anything else, and allocates 256 KiB for
each read. Reading 256 KiB of one-byte records (11,397 of them) took 0.97 s. With reads of 16 KiB,
the largest record, it took 0.04 s, and it is now split over several iterations.

OpenSSL skips records without content, and a call returns only when there is content. 256 KiB of
KeyUpdates (RFC 8446 section 4.6.3), 9,709 of them, took 0.25 s, or 0.8 s if each requested one in
return. So OpenSSL gets one record at a time, and a client that sends many records in a row without
content is disconnected, as by servers in Go.

A client whose certificate is requested may send a hundred kilobytes of others after it, and OpenSSL
decodes the key of each: 300 of them took 0.17 s, trusted or not. So the length of a handshake is
limited too.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Bytes of content in a record (RFC 8446 section 5.1); a read returns at most one record.
_LARGEST = 16 << 10
# Records read in one turn: about a millisecond for the smallest ones. Clients send full records.
_A_TURN = 256
# The weight of a record without content: a KeyUpdate and its response take as long as this many
# others. So 16 in a row are too many, as in Go's crypto/tls.
_EMPTY = 16
# Records in one step of a handshake, at up to 10 us each. A sender may split a message at will;
# every handshake message fits into this many records, even at one byte a record.
_A_STEP = 2048
# Bytes that a client sends in a handshake. With RSA keys of 4096 bits and three intermediate
# authorities it sends about 11,000: 2,000 a certificate, 500 for the signature, and 2,000 for the
# first message with a key share of ML-KEM. With ML-DSA-65 and two intermediates it sends 22,000.
_A_HANDSHAKE = 24 << 10
# Bytes of a record's header; the last two are the length of the record.
_HEADER = 5


class TurnReader(ssl.SSLObject):
    """One side of a connection; at most `_A_TURN` records are read in a turn.

    After that `read` raises `SSLWantReadError`. The protocol begins the next turn when it gets the
    content, and has the event loop read again if records may be left. So a turn that yields no
    content ends the connection.

    The event loop writes received bytes to `arrived`; OpenSSL reads from `passed_on`.
    """

    arrived: ssl.MemoryBIO
    passed_on: ssl.MemoryBIO
    _left = _A_TURN
    _has_read = False  # whether this turn has yielded content
    _header = b""  # the incomplete header of the next record
    _missing = 0  # bytes of the current record that have not been passed on
    _content = 0  # bytes of all records that have been passed on

    def do_handshake(self) -> None:
        """Continue the handshake; raise `SSLError` if the client sends too much."""
        self._by_records(self._step_of_handshake)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read from one record; raise `SSLWantReadError` if nothing is left for this turn.

        Raises `SSLError` after too many records in a row without content.
        """
        while self._left:
            is_whole = self._pass_on_record()
            if not is_whole and self._has_nothing():
                raise ssl.SSLWantReadError  # faster than asking OpenSSL
            try:
                content = super().read(min(len, _LARGEST), buffer)
            except ssl.SSLWantReadError:
                if not is_whole:
                    raise
                self._left = max(self._left - _EMPTY, 0)
            else:
                self._left -= 1
                self._has_read = True
                return content
        if self._has_read:
            raise ssl.SSLWantReadError
        raise ssl.SSLError("too many records without content in a row")

    def unwrap(self) -> Any:
        """Close the TLS session."""
        return self._by_records(super().unwrap)

    def begin_turn(self) -> bool:
        """Begin a turn; return True if the previous one read all its records."""
        was_used_up, self._left, self._has_read = not self._left, _A_TURN, False
        return was_used_up

    def _step_of_handshake(self) -> None:
        """Continue the handshake unless the client has sent too many bytes."""
        if self._content > _A_HANDSHAKE:
            raise ssl.SSLError("too many bytes in a handshake")
        super().do_handshake()

    def _by_records(self, step: Callable[[], T]) -> T:
        """Run a step that reads no content, with as many records as it needs.

        Raises `SSLError` for too many records. They can't be left for later: the event loop tries
        again only when more arrives, and the client may be waiting for a response.
        """
        for _ in range(_A_STEP):
            try:
                return step()
            except ssl.SSLWantReadError:
                self._pass_on_record()
                # Part of a record may be enough for OpenSSL to refuse bytes that are not TLS.
                if self._has_nothing():
                    raise
        raise ssl.SSLError("too many records in one step")

    def _pass_on_record(self) -> bool:
        """Pass on the available part of the next record; return True if it is complete."""
        if not self._missing and not self._begin_record():
            return False
        part = self.arrived.read(self._missing)
        self.passed_on.write(part)
        self._missing -= len(part)
        self._content += len(part)
        return not self._missing

    def _begin_record(self) -> bool:
        """Pass on the header of the next record; return False if it has not arrived."""
        header = self._header = self._header + self.arrived.read(_HEADER - len(self._header))
        if len(header) < _HEADER:
            if self.arrived.eof and not self.passed_on.eof:
                self.passed_on.write_eof()
            return False
        self.passed_on.write(header)
        self._missing, self._header = header[3] << 8 | header[4], b""
        return True

    def _has_nothing(self) -> bool:
        """Return True if OpenSSL has nothing to read, not even the end."""
        return not (self.passed_on.pending or self.passed_on.eof or self.pending())


def begin_turn(tls: object) -> bool:
    """Begin a turn of a connection; return True if undecrypted records may be left."""
    return isinstance(tls, TurnReader) and tls.begin_turn()
