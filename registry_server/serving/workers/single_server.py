"""The server of a single process without a supervisor; it handles SIGHUP itself.

Signals are blocked until its handlers are installed. SIGTERM and SIGINT during startup take effect
afterwards: startup completes, then the server drains.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType

from uvicorn import Config

from registry_server.serving.workers import start_limit
from registry_server.serving.workers.bounded_server import BoundedServer
from registry_server.serving.workers.lifecycle import LifecycleEvents
from registry_server.serving.workers.signals import (
    block_hangup,
    unblock_ending_signals,
    unblock_signals,
)
from registry_server.serving.workers.start_limit import end_process_after

logger = logging.getLogger(__name__)


class SingleServer(BoundedServer):
    """A server that calls `reload` at SIGHUP while it serves.

    Calls do not overlap: signals that arrive during a reload cause one more reload. Exceptions are
    logged, and the server continues. A drain cancels a running reload.
    """

    def __init__(
        self,
        config: Config,
        reload: Callable[[SingleServer], Awaitable[None]],
        events: LifecycleEvents,
    ) -> None:
        super().__init__(config)
        self._reload = reload
        self._events = events
        self._hangup = asyncio.Event()
        self._has_started = False
        self._early: list[int] = []

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT before the application is built."""
        with super().capture_signals():
            unblock_ending_signals()
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, accept connections and report it to `events`."""
        await super().startup(sockets)
        self._events.opened()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle SIGTERM or SIGINT; during startup, defer it and limit the remaining time."""
        if self._has_started:
            super().handle_exit(sig, frame)
        else:
            self._early.append(sig)
            end_process_after(start_limit.SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Report the stop to `events`, and drain."""
        for received in self._captured_signals[:1]:
            self._events.stopping(signal.Signals(received))
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """Serve until the drain begins; reload at SIGHUP until then."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        task = asyncio.create_task(self._reload_at_hangups())
        self._has_started = True
        for sig in self._early:
            self.handle_exit(sig, None)
        unblock_signals()
        try:
            await super().main_loop()
        finally:
            block_hangup()
            task.cancel()
            await asyncio.wait([task])

    async def _reload_at_hangups(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            logger.info("received SIGHUP")
            try:
                await self._reload(self)
            except Exception:
                logger.exception("the reload failed; the previous configuration stays in force")
