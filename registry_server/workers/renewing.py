"""A server that goes by the TLS certificates of its files, whoever changes them."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable

from uvicorn import Config

from registry_server.certificates import Certificates
from registry_server.http1.connection import Connection
from registry_server.workers.draining import DrainingServer

logger = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds between two looks at the files


class RenewingServer(DrainingServer):
    """A server whose new connections speak TLS by what its files say by now.

    Each process looks for itself and tells nobody: there is nothing to agree on, a worker that
    begins later reads what is there, and a supervisor need not know.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._listeners: list[socket.socket] = []
        self._exchanging = asyncio.Lock()

    async def accept(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on `listeners`, and remember them."""
        self._listeners = list(listeners)
        await super().accept(self._listeners)

    async def main_loop(self) -> None:
        """Serve until told to drain, and follow the files until then."""
        following = asyncio.create_task(self._follow())
        try:
            await super().main_loop()
        finally:
            following.cancel()
            await asyncio.wait([following])

    async def secure(self, certificates: Certificates, first: ssl.SSLContext) -> None:
        """Follow other files, or by other rules, from which `first` was built.

        Connections that are open answer once more: what their clients proved may hold no longer.
        """
        async with self._exchanging:
            self.config.ssl_context_factory = certificates
            await self._exchange(first, retiring=True)

    async def _follow(self) -> None:
        while self.config.ssl is not None:
            await asyncio.sleep(_PAUSE)
            try:
                await self._renew()
            except Exception:
                logger.exception("the TLS certificate could not be renewed; the registry goes on")

    async def _renew(self) -> None:
        certificates = self.config.ssl_context_factory
        assert isinstance(certificates, Certificates)
        renewal = await asyncio.to_thread(certificates.renewed)
        if renewal is None:
            return
        async with self._exchanging:
            # By now others may be in force, and nobody goes by what those files say.
            if self.config.ssl_context_factory is certificates:
                await self._exchange(renewal.context, retiring=not renewal.is_believed_the_same)

    async def _exchange(self, context: ssl.SSLContext, *, retiring: bool) -> None:
        """Have connections from now on speak TLS by `context`; nobody waits or is refused."""
        before, self.config.ssl = list(self.servers), context
        await super().accept(self._listeners)
        for server in before:
            self.servers.remove(server)
            server.close()
        for connection in self.server_state.connections if retiring else ():
            if isinstance(connection, Connection):
                connection.retire()
