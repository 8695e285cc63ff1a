"""Enforces a minimum rate for request bodies.

An upload occupies its session, a file and one of the permitted concurrent uploads. A client that
sends a byte now and then would hold them without limit. So a body must grow by a minimum number of
bytes in each interval. Time during which the server does not read, because the disk is slow or
other requests have priority, does not count, nor does time before 100 Continue is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl

from registry_server.http.extensions import Pace
from registry_server.serving.http1.framing import Framing

# Seconds. A timer this late means that the event loop was busy and did not read.
_LATE = 1.0


DEFAULT = Pace()


class Flow(FlowControl):
    """uvicorn's flow control with a callback when reading resumes."""

    def __init__(self, transport: asyncio.Transport, resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resumed = resumed

    def resume_reading(self) -> None:
        """Resume receiving."""
        if self.read_paused:
            super().resume_reading()
            self._resumed()


class BodyWatch:
    """Checks the rate of the bodies of one connection with a periodic timer.

    It adds no cost to each piece that arrives: the timer reads the byte counts of the framing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: Callable[[], None]) -> None:
        """`give_up` is called for a body that arrives too slowly."""
        self._loop = loop
        self._give_up = give_up
        self._flow: Flow | None = None
        self._framing: Framing | None = None
        self._pace = DEFAULT
        self._since = 0.0  # start of the interval
        self._seen = 0  # bytes of content at that time
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def flow(self, transport: asyncio.Transport) -> Flow:
        """Create the connection's flow control; time while reading is paused does not count."""
        self._flow = Flow(transport, self._begin_span)
        return self._flow

    def begin(self, framing: Framing, pace: Pace) -> None:
        """Enforce `pace` for the rest of a body."""
        if pace != self._pace:
            self.stop()
        self._framing, self._pace, self._seen = framing, pace, framing.content
        self._begin_span()
        if pace.least and self._timer is None:
            self._check_in(pace.within)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Stop the timer and drop the references to the connection."""
        self.stop()
        self._flow, self._give_up = None, _nothing

    def _begin_span(self) -> None:
        self._since = self._loop.time()

    def _check_in(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._check)

    def _check(self) -> None:
        """Give up a body that is too slow; otherwise check again later if it is incomplete."""
        self._timer = None
        framing, within = self._framing, self._pace.within
        if framing is None or framing.done or self._flow is None:
            return
        now = self._loop.time()
        if now - self._due > _LATE or self._flow.read_paused:
            self._since = now
        left = self._since + within - now
        if left <= 0:
            if framing.content - self._seen < self._pace.least:
                self._give_up()
                return
            self._seen, self._since, left = framing.content, now, within
        self._check_in(left)


def _nothing() -> None:
    """Replace `give_up` once the connection is lost."""
