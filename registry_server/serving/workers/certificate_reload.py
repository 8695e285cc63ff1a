"""A server that reloads TLS certificates when their files change."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Iterable

from uvicorn import Config

from registry_server.serving.http1.connection import Connection
from registry_server.serving.tls.certificates import Certificates
from registry_server.serving.workers.draining_server import DrainingServer

logger = logging.getLogger(__name__)

_PAUSE = 1.0  # seconds between two checks of the files


class CertificateReloadServer(DrainingServer):
    """A server whose new connections use the current TLS files.

    Each process checks the files itself. No coordination is needed: a worker that starts later
    reads the current files.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._listeners: list[socket.socket] = []
        self._replacing = asyncio.Lock()

    async def accept(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on `listeners`, and remember them."""
        self._listeners = list(listeners)
        await super().accept(self._listeners)

    async def main_loop(self) -> None:
        """Serve until the drain begins; check the files until then."""
        watcher = asyncio.create_task(self._watch_files())
        try:
            await super().main_loop()
        finally:
            watcher.cancel()
            await asyncio.wait([watcher])

    async def replace_certificates(self, certificates: Certificates, first: ssl.SSLContext) -> None:
        """Replace the TLS settings after a reload; `first` is the context built from them.

        Open connections close after their next response: the client certificates they accepted may
        no longer be accepted.
        """
        async with self._replacing:
            self.config.ssl_context_factory = certificates
            await self._replace_context(first, retiring=True)

    async def _watch_files(self) -> None:
        while self.config.ssl is not None:
            await asyncio.sleep(_PAUSE)
            try:
                await self._reload_certificates()
            except Exception:
                logger.exception("could not reload the TLS certificate; the old one stays in use")

    async def _reload_certificates(self) -> None:
        certificates = self.config.ssl_context_factory
        assert isinstance(certificates, Certificates)
        new = await asyncio.to_thread(certificates.changed)
        if new is None:
            return
        async with self._replacing:
            # A reload may have replaced the settings meanwhile.
            if self.config.ssl_context_factory is certificates:
                await self._replace_context(new.context, retiring=not new.are_authorities_unchanged)

    async def _replace_context(self, context: ssl.SSLContext, *, retiring: bool) -> None:
        """Use `context` for new connections; none waits or is refused during the exchange."""
        before, self.config.ssl = list(self.servers), context
        await super().accept(self._listeners)
        for server in before:
            self.servers.remove(server)
            server.close()
        for connection in self.server_state.connections if retiring else ():
            if isinstance(connection, Connection):
                connection.retire()
