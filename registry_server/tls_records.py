"""How much of TLS is decrypted in one go.

An event loop decrypts all that has arrived before anything else happens, and asks for 256 KiB at
a time, for which it allocates memory. Reading 256 KiB of one-byte records, which are 11,397, took
0.97 s. A record has 16 KiB at most: with that the same took 0.04 s, and it is done in turns.
"""

from __future__ import annotations

import ssl
from typing import Any

# Bytes of content in a record (RFC 8446 section 5.1); no call returns more than one has.
_LARGEST = 16 << 10
# Records in one turn: about a millisecond, when they are as small as can be. Clients fill theirs.
_A_TURN = 256


class TurnReader(ssl.SSLObject):
    """One side of a connection, of which at most `_A_TURN` records are read in a turn.

    After them `read` reports that there is nothing to read. The protocol begins the next turn, and
    has the event loop read again if records may be left.
    """

    _left = _A_TURN

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """Read from a record; raise `SSLWantReadError` when no more is read in this turn."""
        if not self._left:
            raise ssl.SSLWantReadError
        self._left -= 1
        return super().read(min(len, _LARGEST), buffer)

    def begin_turn(self) -> bool:
        """Allow as much again; return whether the turn before was used up."""
        was_used_up, self._left = not self._left, _A_TURN
        return was_used_up


def begin_turn(tls: object) -> bool:
    """Begin a turn of a connection's TLS, if it has turns; return whether something may be left."""
    return isinstance(tls, TurnReader) and tls.begin_turn()
