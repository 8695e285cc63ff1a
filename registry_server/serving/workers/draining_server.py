"""A server that drains gracefully: no accepted connection loses its request."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable

from uvicorn import Server

# Seconds for a complete TLS handshake; uvicorn does not know the connection before it.
HANDSHAKE_SECONDS = 60.0
# Seconds at the start of a drain in which requests are still accepted on open connections.
_LAST_CALL = 0.5


class DrainingServer(Server):
    """uvicorn's server with a graceful drain, which also runs the application's shutdown."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections on `sockets`."""
        await super().startup(sockets=[])
        await self.accept(sockets or [])

    async def accept(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on duplicates of `listeners`, with the TLS context of `config`.

        The caller keeps the originals; asyncio closes the duplicates.
        """
        for listener in listeners:
            server = await asyncio.get_running_loop().create_server(
                self._connection,
                sock=listener.dup(),
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self.config.ssl is not None else None,
                backlog=self.config.backlog,
            )
            self.servers.append(server)

    def _connection(self) -> asyncio.Protocol:
        connection: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )  # type: ignore[call-arg]
        return connection

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain; after a second SIGINT cancel requests in flight, which save their progress."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._last_call()
        await super().shutdown(sockets)
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    async def _last_call(self) -> None:
        """Answer requests on open connections for a moment, with `Connection: close`.

        Idle connections are closed afterwards, and a request in transit at that moment is lost.
        Clients do not retry the first request on a connection, nor one that changes something.
        """
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(0)  # lets connections that were just accepted register
        deadline = time.monotonic() + _LAST_CALL
        # During its TLS handshake a connection is not in `connections`.
        while self.server_state.connections or self.config.ssl is not None:
            if self.force_exit or time.monotonic() > deadline:
                break
            await asyncio.sleep(_LAST_CALL / 20)
