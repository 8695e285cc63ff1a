"""Where a body ends: after Content-Length bytes or the last chunk (RFC 9112 sections 6 and 7).

A framing receives the bytes that arrive and separates the content. It works in place, because most
of the bytes are content and are already in their destination buffer. It is strict: a server that
guesses where a body ends may disagree with a proxy in front of it, which allows request smuggling.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple, Protocol

# Bytes of a chunk-size line with its extensions; clients send no extensions.
_LINE_LIMIT = 4096
# Bytes of all trailers, which are discarded.
_TRAILER_LIMIT = 16 << 10
# Chunk-size and trailer lines read in one iteration of the event loop. Each takes about a
# microsecond, during which other connections wait.
_LINES_A_TURN = 512
# Bytes; long enough for most chunk-size lines.
_PIECE = 32

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")
# What lies between the content of two chunks without extensions.
_BETWEEN = re.compile(rb"\r\n([0-9A-Fa-f]{1,15})\r\n")


class FramingError(Exception):
    """The framing is invalid, so the end of the body is unknown."""


class Taken(NamedTuple):
    """`used` bytes were read; `kept` bytes of them are content, now at the start of the buffer.

    The bytes after `used` belong to the next request or, if the body has not ended, are left for
    the next iteration.
    """

    kept: int
    used: int


class Framing(Protocol):
    """The framing of one body."""

    done: bool

    @property
    def content(self) -> int:
        """The number of content bytes taken so far."""

    @property
    def ahead(self) -> int | None:
        """The number of content bytes still to come; None if unknown."""

    def take(self, arrived: memoryview) -> Taken:
        """Move the content in `arrived` to its start; raise `FramingError`."""


class LengthFraming:
    """A body with a Content-Length."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.ahead = length
        self.done = not length

    @property
    def content(self) -> int:
        """The number of bytes taken so far."""
        return self._length - self.ahead

    def take(self, arrived: memoryview) -> Taken:
        """Take the rest of the body; it is already at the start of `arrived`."""
        size = min(len(arrived), self.ahead)
        self.ahead -= size
        self.done = not self.ahead
        return Taken(size, size)


class _Line(Enum):
    """The kind of the next line in a chunked body."""

    SIZE = auto()
    END = auto()
    TRAILER = auto()


class ChunkedFraming:
    """A chunked body; its length is unknown until its end."""

    ahead = None

    def __init__(self) -> None:
        self.done = False
        self.content = 0
        self._left = 0
        self._line = b""
        self._trailers = 0
        self._next = _Line.SIZE

    def take(self, arrived: memoryview) -> Taken:
        """Remove the chunk framing in place, at most `_LINES_A_TURN` lines."""
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
        """Read the line that `piece` begins or continues; return how many bytes were read."""
        if self._next is _Line.END and not self._line:
            between = _BETWEEN.match(piece)
            if between is not None and (left := int(between[1], 16)):
                self._left = left
                return between.end()
        end = piece.find(b"\n") + 1
        self._line += piece[:end] if end else piece
        if len(self._line) > _LINE_LIMIT:
            raise FramingError("a chunk-size line is too long")
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
                raise FramingError(f"{line[:40]!r} is not a chunk size")
            self._left = int(match[1], 16)
            self._next = _Line.END if self._left else _Line.TRAILER
        elif line == b"\r\n":
            self._next = _Line.SIZE
        else:
            raise FramingError("a chunk is longer than its declared size")

    def _take_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > _TRAILER_LIMIT:
            raise FramingError("the trailers are too long")
        if line == b"\r\n":
            self.done = True
        elif not _FIELD.fullmatch(line):
            raise FramingError(f"{line[:40]!r} is not a trailer")
