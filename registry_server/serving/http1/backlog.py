"""Limits the memory that requests hold while they wait for their clients.

A client can request a list of ten megabytes and not read it, or send most of a manifest and then
stall. The kernel ends the first connection after ten minutes (`peers.set_user_timeout`); the second
may continue at a kilobyte a minute. A few hundred of them would exhaust memory. So when all waiting
requests together hold more than the limit, those that have waited longest are aborted.

What a request holds is its part of the response or of the body, its own head, and the requests
that the client has sent after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

MOST_BYTES = 64 << 20
# A request is aborted only if its client has neither sent nor received anything for this long.
SECONDS = 10.0


# Bytes; a wait that holds no more is not counted.
LITTLE = 64 << 10


@dataclass(frozen=True, slots=True)
class _Wait:
    size: int
    since: float
    give_up: Callable[[], None]


class Backlog:
    """Waiting requests; above `most` bytes in total, those waiting for `seconds` are aborted."""

    def __init__(self, most: int = MOST_BYTES, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        # In insertion order: the longest wait is first.
        self._waits: dict[object, _Wait] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0

    def begin(self, request: object, size: int, give_up: Callable[[], None]) -> None:
        """Record that a request waits and holds `size` bytes; `give_up` may run until `end`."""
        self._waits[request] = _Wait(size, asyncio.get_running_loop().time(), give_up)
        self.size += size
        self._shrink()

    def end(self, request: object) -> None:
        """Record that a request no longer waits."""
        wait = self._waits.pop(request, None)
        if wait is not None:
            self.size -= wait.size
        if self._timer is not None and self.size <= self._most:
            self._timer.cancel()
            self._timer = None

    def _shrink(self) -> None:
        """Abort expired waits while the total is too high; schedule a check for the next one."""
        loop = asyncio.get_running_loop()
        while self.size > self._most:
            request, wait = next(iter(self._waits.items()))
            due = wait.since + self._seconds
            if due > loop.time():
                if self._timer is None:
                    self._timer = loop.call_at(due, self._check_again)
                return
            self.end(request)
            wait.give_up()

    def _check_again(self) -> None:
        self._timer = None
        self._shrink()


class ClientWait:
    """A block in which a request waits for its client and holds `size` bytes.

    `give_up` aborts the request; the backlog may call it until the block ends.
    """

    __slots__ = ("_among", "_give_up", "_size")

    def __init__(self, among: Backlog, size: int, give_up: Callable[[], None]) -> None:
        self._among = among
        self._size = size
        self._give_up: Callable[[], None] | None = give_up

    def __enter__(self) -> None:
        self.grow(0)

    def __exit__(self, *_: object) -> None:
        # The request refers to its wait, so this would be a reference cycle.
        self._give_up = None
        self._among.end(self)

    def grow(self, more: int) -> None:
        """Count `more` bytes, which arrived during the wait."""
        if self._give_up is None:
            return
        self._among.end(self)
        self._size += more
        if self._size > LITTLE:
            self._among.begin(self, self._size, self._give_up)
