"""Where a body ends: after so many bytes, or after the last chunk (RFC 9112 sections 6 and 7).

A framing is fed what arrives and keeps what is content. It works in place, because most of what
arrives is content already in the buffer where it is wanted. It is strict: a server that guesses
where a body ends disagrees with a proxy in front of it, and the next request is somebody else's.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple, Protocol

# Bytes of one chunk's first line, with its extensions, which nobody sends.
_LINE_LIMIT = 4096
# Bytes of all trailers, which are thrown away.
_TRAILER_LIMIT = 16 << 10
# Lines of chunks and trailers that are read in one turn of the event loop. Each takes about a
# microsecond, in which other connections wait.
_LINES_A_TURN = 512
# Long enough for the line that most chunks begin with.
_PIECE = 32

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")
# What lies between the content of two chunks, when nothing else does.
_BETWEEN = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")


class FramingError(Exception):
    """What arrived is not how a body is framed; where it ends can't be known any more."""


class Taken(NamedTuple):
    """Of what arrived: `kept` bytes of content, now at the beginning; `used` bytes were read.

    What lies behind `used` belongs to the next request or, if the body has not ended, is left for
    another turn.
    """

    kept: int
    used: int


class Framing(Protocol):
    """The framing of one body."""

    done: bool

    @property
    def content(self) -> int:
        """How many bytes of content were taken."""

    @property
    def ahead(self) -> int | None:
        """How many bytes of content are still to come; None when that is not known."""

    def take(self, arrived: memoryview) -> Taken:
        """Move the content among what arrived to its beginning; raise `FramingError`."""


class Counted:
    """A body of a declared length."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.ahead = length
        self.done = not length

    @property
    def content(self) -> int:
        """How many bytes were taken."""
        return self._length - self.ahead

    def take(self, arrived: memoryview) -> Taken:
        """Take what is left of the body; it lies at the beginning already."""
        size = min(len(arrived), self.ahead)
        self.ahead -= size
        self.done = not self.ahead
        return Taken(size, size)


class _Line(Enum):
    """What the next line of a chunked body is."""

    SIZE = auto()
    END = auto()
    TRAILER = auto()


class Chunked:
    """A body in chunks, of a length nobody knows before its end."""

    ahead = None

    def __init__(self) -> None:
        self.done = False
        self.content = 0
        self._left = 0
        self._line = b""
        self._trailers = 0
        self._next = _Line.SIZE

    def take(self, arrived: memoryview) -> Taken:
        """Close the gaps between chunks, of at most `_LINES_A_TURN` lines."""
        kept = used = lines = 0
        end = len(arrived)
        while used < end and not self.done:
            if not self._left:
                if lines == _LINES_A_TURN:
                    break
                lines += 1
                used += self._read_line(arrived[used : used + _PIECE].tobytes())
                continue
            size = min(self._left, end - used)
            if kept != used:
                arrived[kept : kept + size] = arrived[used : used + size]
            kept += size
            used += size
            self._left -= size
        self.content += kept
        return Taken(kept, used)

    def _read_line(self, piece: bytes) -> int:
        """Read the line that `piece` goes on with; return how many bytes of it were read."""
        if self._next is _Line.END and not self._line:
            between = _BETWEEN.match(piece)
            if between is not None and (left := int(between[1], 16)):
                self._left = left
                return between.end()
        end = piece.find(b"\n") + 1
        self._line += piece[:end] if end else piece
        if len(self._line) > _LINE_LIMIT:
            raise FramingError("a chunk begins with too long a line")
        if end:
            line, self._line = self._line, b""
            self._take_line(line)
        return end or len(piece)

    def _take_line(self, line: bytes) -> None:
        if self._next is _Line.TRAILER:
            self._take_trailer(line)
        elif self._next is _Line.SIZE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise FramingError(f"{line[:40]!r} is not the size of a chunk")
            self._left = int(match[1], 16)
            self._next = _Line.END if self._left else _Line.TRAILER
        elif line == b"\r\n":
            self._next = _Line.SIZE
        else:
            raise FramingError("a chunk is longer than it says")

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > _TRAILER_LIMIT:
            raise FramingError("the trailers are too long")
        if line == b"\r\n":
            self.done = True
        elif not _FIELD.fullmatch(line):
            raise FramingError(f"{line[:40]!r} is not a trailer")
