"""How fast a body has to come: a client that sends next to nothing holds what others want.

An upload holds its session, a file and a place among those that run; and whoever sends a byte now
and then would hold them for ever. So a body that is waited for has to grow by some bytes in each
span of time. Time in which nothing is read, because the disk is slow or others come first, does not
count, nor does time before the client was asked to send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from uvicorn.protocols.http.flow_control import FlowControl

from registry_server.http1.framing import Framing

# The key in the scope of a request whose body is still to come: a callable that takes the `Pace`
# it is held to from now on.
KEEP = "registry.http.request.pace"

# Seconds. When a timer is as late as that the loop was busy, and nobody read meanwhile.
_LATE = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
    """At least `least` bytes in any `within` seconds, or the end; with 0 bytes there is none.

    The default is a modem's in its worst minute.
    """

    least: int = 1 << 10
    within: float = 60.0


DEFAULT = Pace()


class Flow(FlowControl):
    """uvicorn's, which also tells when reading goes on."""

    def __init__(self, transport: asyncio.Transport, resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resumed = resumed

    def resume_reading(self) -> None:
        """Read on."""
        if self.read_paused:
            super().resume_reading()
            self._resumed()


class BodyWatch:
    """Looks, now and then, how the bodies of one connection come.

    It costs nothing for each piece that arrives: there is one timer for a connection, which a body
    that comes at once does not even outlast, and what it looks at are the framing's own counts.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, give_up: Callable[[], None]) -> None:
        """Call `give_up` for a body that came too slowly."""
        self._loop = loop
        self._give_up = give_up
        self._flow: Flow | None = None
        self._framing: Framing | None = None
        self._pace = DEFAULT
        self._since = 0.0  # from when on the span counts
        self._seen = 0  # bytes of content by then
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def flow(self, transport: asyncio.Transport) -> Flow:
        """Make the flow control of the connection; while that has paused nobody is waited for."""
        self._flow = Flow(transport, self._begin_span)
        return self._flow

    def begin(self, framing: Framing, pace: Pace) -> None:
        """Hold the rest of a body to `pace` from now on."""
        if pace != self._pace:
            self.stop()
        self._framing, self._pace, self._seen = framing, pace, framing.content
        self._begin_span()
        if pace.least and self._timer is None:
            self._look_in(pace.within)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Look no more, and refer to the connection no more."""
        self.stop()
        self._flow, self._give_up = None, _nothing

    def _begin_span(self) -> None:
        self._since = self._loop.time()

    def _look_in(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        """Give up a body that came too slowly; look again later at one that is not whole."""
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
        self._look_in(left)


def _nothing() -> None:
    """Do nothing."""
