"""What requests hold in memory while they wait for their clients.

A client that asks for a list of ten megabytes and does not read it costs itself a connection, and
so does one that sends most of a manifest. The kernel gives up the one after ten minutes
(`peers.give_up_after`), and the other may send a kilobyte a minute; until then a few hundred of
them would fill the memory. So when all together hold too much, those that did nothing for longest
are ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

# The key in the scope of a request with a body: a callable that takes how many bytes of the body
# the application holds in memory, until it has read all of it.
HOLD = "registry.http.request.hold"

MOST_BYTES = 64 << 20
# A client that takes a part of its answer now and then, or sends something, is not ended.
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Wait:
    size: int
    since: float
    give_up: Callable[[], None]


class Backlog:
    """The requests that wait; over `most` bytes those that wait for `seconds` are given up."""

    def __init__(self, most: int = MOST_BYTES, seconds: float = SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        # The one that waits for longest comes first.
        self._waits: dict[object, _Wait] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0

    def begin(self, request: object, size: int, give_up: Callable[[], None]) -> None:
        """Learn that a request waits and holds `size` bytes; it may be given up until `end`."""
        self._waits[request] = _Wait(size, asyncio.get_running_loop().time(), give_up)
        self.size += size
        self._shrink()

    def end(self, request: object) -> None:
        """Learn that a request waits no more, whatever the reason is."""
        wait = self._waits.pop(request, None)
        if wait is not None:
            self.size -= wait.size
        if self._timer is not None and self.size <= self._most:
            self._timer.cancel()
            self._timer = None

    def _shrink(self) -> None:
        """Give up what has waited for too long; look again when the next one has."""
        loop = asyncio.get_running_loop()
        while self.size > self._most:
            request, wait = next(iter(self._waits.items()))
            due = wait.since + self._seconds
            if due > loop.time():
                if self._timer is None:
                    self._timer = loop.call_at(due, self._look_again)
                return
            self.end(request)
            wait.give_up()

    def _look_again(self) -> None:
        self._timer = None
        self._shrink()
