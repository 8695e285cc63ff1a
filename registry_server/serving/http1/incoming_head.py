"""Finds the head of the next request in the bytes of a connection.

Nearly every head arrives whole and is parsed at once. One that arrives in parts, or follows empty
lines, is parsed incrementally. Long ones that stay incomplete are limited together.
"""

from __future__ import annotations

import asyncio

from registry_server.serving.http1 import request_heads
from registry_server.serving.http1.backlog import Backlog
from registry_server.serving.http1.request_heads import (
    HEAD_LIMIT,
    HeadInvalid,
    HeadReader,
    HeadTooLong,
    RequestHead,
)

# Bytes; an incomplete head that is longer counts as `_LONG_HEAD_COST` bytes until it is complete.
_LONG_HEAD = 4 << 10
_LONG_HEAD_COST = 2 * HEAD_LIMIT  # it is in memory twice
# One for each process.
INCOMPLETE_HEADS = Backlog()

_SPACE = 0x20
_BLANK = b"\r\n\r\n"


class IncomingHead:
    """The head that arrives next on a connection; `arrived` is its size while it is incomplete."""

    __slots__ = ("_is_counted", "_reader", "_tail", "arrived")

    def __init__(self) -> None:
        self.arrived = 0
        self._tail = b""  # the last bytes, which may be the start of a blank line
        self._reader: HeadReader | None = None
        self._is_counted = False

    def take(
        self, data: bytes, at: int, transport: asyncio.Transport
    ) -> tuple[RequestHead | None, int]:
        """Read from `data[at:]`; return the head if it is complete, and where the rest begins.

        Raises `HeadInvalid`. While a long head is incomplete, `transport` may be aborted.
        """
        end = _end_of_head(self._tail, data, at)
        part = data[at : end or len(data)]
        if end and len(part) <= HEAD_LIMIT and self._reader is None and part[0] > _SPACE:
            return request_heads.read(part), end
        self.arrived += len(part)
        if self.arrived > HEAD_LIMIT:
            raise HeadTooLong
        return self._continue(part, transport, is_end=bool(end)), end or len(data)

    def drop(self) -> None:
        """Drop what has arrived."""
        self.arrived, self._tail = 0, b""
        if self._reader is not None:
            self._reader.drop()
            self._reader = None
        if self._is_counted:
            self._is_counted = False
            INCOMPLETE_HEADS.end(self)

    def _continue(
        self, part: bytes, transport: asyncio.Transport, *, is_end: bool
    ) -> RequestHead | None:
        if self._reader is None:
            self._reader = HeadReader()
        self._reader.feed(part)
        if self._reader.is_whole:
            if not is_end:
                raise HeadInvalid
            head = self._reader.result()
            self.drop()
            return head
        self._tail = (self._tail + part)[-3:]
        if self.arrived > _LONG_HEAD and not self._is_counted:
            self._is_counted = True
            INCOMPLETE_HEADS.begin(self, _LONG_HEAD_COST, transport.abort)
        return None


def _end_of_head(tail: bytes, data: bytes, at: int) -> int:
    """Return the position after the first blank line in `data[at:]`, 0 if there is none.

    The blank line may begin in `tail`, the bytes before `data[at:]`.
    """
    seam = (tail + data[at : at + 3]).find(_BLANK) if tail else -1
    if seam >= 0:
        return at + seam + len(_BLANK) - len(tail)
    start = data.find(_BLANK, at)
    return start + len(_BLANK) if start >= 0 else 0
