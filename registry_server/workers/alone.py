"""The one process that serves where several are not needed: it obeys SIGHUP itself.

Whoever makes it holds signals back. An exception that a handler raised while it starts could be
lost in a callback of the loop, and a server that was told to end would go on for ever.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable

from uvicorn import Config

from registry_server.workers.bounded import BoundedServer
from registry_server.workers.milestones import Milestones
from registry_server.workers.signals import hold_hangups_back, let_through

logger = logging.getLogger(__name__)


class LoneServer(BoundedServer):
    """A server that has `reload` change it at SIGHUP, while it serves.

    `reload` is called again only when it has returned; signals that came meanwhile are one. What
    it raises is logged, and the server goes on. It is cancelled when the server drains.
    """

    def __init__(
        self,
        config: Config,
        reload: Callable[[LoneServer], Awaitable[None]],
        milestones: Milestones,
    ) -> None:
        super().__init__(config)
        self._reload = reload
        self._milestones = milestones
        self._hangup = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, accept connections, and announce it."""
        await super().startup(sockets)
        self._milestones.opened()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Announce the stop, and drain."""
        for received in self._captured_signals[:1]:
            self._milestones.stopping(signal.Signals(received))
        await super().shutdown(sockets)

    async def main_loop(self) -> None:
        """Serve until told to drain, and obey SIGHUP until then."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup.set)
        task = asyncio.create_task(self._obey())
        let_through()
        try:
            await super().main_loop()
        finally:
            hold_hangups_back()
            task.cancel()
            await asyncio.wait([task])

    async def _obey(self) -> None:
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            logger.info("received SIGHUP")
            try:
                await self._reload(self)
            except Exception:
                logger.exception("the reload failed; the registry goes on")
