"""Parses the Range header (RFC 9110 section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry_server.v2.refusals import RangeUnsatisfiable

# Each range costs a seek and a header; no client needs more to pull an image (CVE-2025-62727).
MOST_RANGES = 16

_SPEC = re.compile(r"(\d{0,40})-(\d{0,40})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` until before `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range of this part of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse(header: str | None, size: int) -> tuple[ByteRange, ...]:
    """Parse a Range header for a blob of `size` bytes.

    Returns the satisfiable ranges in the requested order, with overlapping ones joined, or an empty
    tuple if the whole blob is to be sent. Raises `RangeUnsatisfiable` if the header is malformed,
    has more than MOST_RANGES ranges, or none that is satisfiable.
    """
    if header is None:
        return ()
    unit, equals, specs = header.partition("=")
    # Unknown units are ignored. An empty blob is sent whole, because some clients send a range with
    # every request.
    if unit.strip().lower() != "bytes" or not equals or not size:
        return ()
    pieces = [piece.strip() for piece in specs.split(",", MOST_RANGES + 1)]
    if len(pieces) > MOST_RANGES:
        raise RangeUnsatisfiable(size)
    resolved = [_resolve(piece, size) for piece in pieces if piece]
    ranges = _joined([part for part in resolved if part is not None])
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
    requested = int(length)
    return ByteRange(max(size - requested, 0), size) if requested else None


def _joined(ranges: list[ByteRange]) -> tuple[ByteRange, ...]:
    """Join ranges that overlap or are adjacent, in any order (RFC 9110, section 15.3.7.2).

    No byte is sent twice, so a short request cannot cause a response longer than the blob. A joined
    range has the position of the first of its parts.
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
