"""The Range header, RFC 9110 section 14, pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_server.v2.problems import RangeUnsatisfiable

# Each range costs a seek and a header; nobody who pulls an image needs more (CVE-2025-62727).
MOST_RANGES = 16

_SPEC = re.compile(r"(\d{0,40})-(\d{0,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Render the Content-Range of this part of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse(header: str | None, size: int) -> tuple[ByteRange, ...]:
    """Read a Range header against a blob of `size` bytes.

    Returns the satisfiable ranges in the order asked for, overlapping ones joined; nothing when
    all of the blob is to be sent. Raises `RangeUnsatisfiable` for a malformed header, for one
    that asks for nothing we have, and for one that asks for too many parts.
    """
    if header is None:
        return ()
    unit, equals, specs = header.partition("=")
    # Units we don't know are ignored, and an empty blob is sent whole: some clients put a range
    # on every request.
    if unit.strip().lower() != "bytes" or not equals or not size:
        return ()
    pieces = [piece.strip() for piece in specs.split(",", MOST_RANGES + 1)]
    if len(pieces) > MOST_RANGES:
        raise RangeUnsatisfiable(size)
    found = [_resolve(piece, size) for piece in pieces if piece]
    ranges = _joined([part for part in found if part is not None])
    if not ranges:
        raise RangeUnsatisfiable(size)
    return ranges


def _resolve(spec: str, size: int) -> ByteRange | None:
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise RangeUnsatisfiable(size)
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        raise RangeUnsatisfiable(size)
    stop = min(int(last) + 1, size) if last else size
    return ByteRange(start, stop) if start < size else None


def _suffix(length: str, size: int) -> ByteRange | None:
    if not length:
        raise RangeUnsatisfiable(size)
    wanted = int(length)
    return ByteRange(max(size - wanted, 0), size) if wanted else None


def _joined(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """Join ranges that overlap or touch, in whatever order they were asked for.

    RFC 9110, section 15.3.7.2, allows this. No byte is sent twice, so a short request cannot make
    an answer longer than the blob. A joined range stands where the first of its parts stood.
    """
    joined: list[ByteRange] = []
    for part in ranges:
        at = len(joined)
        for index, other in reversed(list(enumerate(joined))):
            if other.start <= part.stop and part.start <= other.stop:
                part = ByteRange(min(part.start, other.start), max(part.stop, other.stop))
                del joined[index]
                at = index
        joined.insert(at, part)
    return tuple(joined)
