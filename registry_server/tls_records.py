"""How much of TLS is decrypted in one go.

An event loop decrypts all that has arrived before anything else happens, and asks for 256 KiB at
a time, for which it allocates memory. Reading 256 KiB of one-byte records, which are 11,397, took
0.97 s. A record has 16 KiB at most: with that the same took 0.04 s, and it is done in turns.

OpenSSL reads on behind a record without content, and a call returns only when there is some. 256
KiB of KeyUpdates (RFC 8446 section 4.6.3), which are 9,709, took 0.25 s, or 0.8 s if each asked for
one in return. So OpenSSL gets one record at a time, and a client that sends many without content in
a row is cut off, as by servers in Go.

A client that is asked for its certificate may send a hundred kilobytes of others behind it, and
OpenSSL decodes the key of each: 300 of them took 0.17 s, whether or not any is trusted. So the
length of a handshake is limited as well.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

# Bytes of content in a record (RFC 8446 section 5.1); no call returns more than one has.
_LARGEST = 16 << 10
# Records in one turn: about a millisecond, when they are as small as can be. Clients fill theirs.
_A_TURN = 256
# What a record without content counts: its keys are changed, and those of an answer, which takes as
# long as so many others. So 16 in a row are too many, as in Go's crypto/tls.
_EMPTY = 16
# Records in one step of a handshake, of up to 10 us each. A message may be split as its sender
# likes, and each of the handshake's fits into so many, even with a byte in each.
_A_STEP = 2048
# Bytes that a client sends in a handshake. With RSA keys of 4096 bits, and three authorities
# between it and ours, they are about 11,000: 2,000 for each certificate, 500 for the signature,
# and 2,000 for the first message with a key share of ML-KEM. With ML-DSA-65, and two authorities
# between, they are 22,000.
_A_HANDSHAKE = 24 << 10
# Bytes before each record; the last two have its length.
_HEADER = 5


class TurnReader(ssl.SSLObject):
    """One side of a connection, of which at most `_A_TURN` records are read in a turn.

    After them `read` reports that there is nothing to read. The protocol begins the next turn when
    it gets the content, and has the event loop read again if records may be left. So a turn without
    content has to be the last.

    The event loop writes what arrives to `arrived`; OpenSSL reads from `passed_on`.
    """

    arrived: ssl.MemoryBIO
    passed_on: ssl.MemoryBIO
    _left = _A_TURN
    _has_read = False  # some content, in this turn
    _header = b""  # of the record that is being passed on, unless that is whole
    _missing = 0  # bytes of the record that is being passed on
    _content = 0  # bytes of all records, as far as they were passed on

    def do_handshake(self) -> None:
        """Shake hands; raise `SSLError` when the client sends too much for that."""
        self._by_records(self._step_of_handshake)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read from a record; raise `SSLWantReadError` when no more is read in this turn.

        Raises `SSLError` when too many records in a row have no content.
        """
        while self._left:
            is_whole = self._pass_on_record()
            if not is_whole and self._has_nothing():
                raise ssl.SSLWantReadError  # OpenSSL takes longer to say so
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
        """End TLS."""
        return self._by_records(super().unwrap)

    def begin_turn(self) -> bool:
        """Allow as much again; return whether the turn before was used up."""
        was_used_up, self._left, self._has_read = not self._left, _A_TURN, False
        return was_used_up

    def _step_of_handshake(self) -> None:
        """Go on with the handshake, unless what was passed on for that is too much."""
        if self._content > _A_HANDSHAKE:
            raise ssl.SSLError("too many bytes in a handshake")
        super().do_handshake()

    def _by_records(self, step: Callable[[], T]) -> T:
        """Take a step that reads no content, with as many records as it needs.

        Raises `SSLError` for too many: the event loop tries again only when more arrives, and the
        client waits for an answer to what it sent.
        """
        for _ in range(_A_STEP):
            try:
                return step()
            except ssl.SSLWantReadError:
                self._pass_on_record()
                # A part of a record may be enough to refuse what is no TLS.
                if self._has_nothing():
                    raise
        raise ssl.SSLError("too many records in one step")

    def _pass_on_record(self) -> bool:
        """Pass on what arrived of the next record; return whether that was all of it."""
        if not self._missing and not self._begin_record():
            return False
        part = self.arrived.read(self._missing)
        self.passed_on.write(part)
        self._missing -= len(part)
        self._content += len(part)
        return not self._missing

    def _begin_record(self) -> bool:
        """Pass on the header of the next record; return whether it has arrived."""
        header = self._header = self._header + self.arrived.read(_HEADER - len(self._header))
        if len(header) < _HEADER:
            if self.arrived.eof and not self.passed_on.eof:
                self.passed_on.write_eof()
            return False
        self.passed_on.write(header)
        self._missing, self._header = header[3] << 8 | header[4], b""
        return True

    def _has_nothing(self) -> bool:
        """Tell whether OpenSSL has nothing to read, not even the end."""
        return not (self.passed_on.pending or self.passed_on.eof or self.pending())


def begin_turn(tls: object) -> bool:
    """Begin a turn of a connection's TLS, if it has turns; return whether something may be left."""
    return isinstance(tls, TurnReader) and tls.begin_turn()
