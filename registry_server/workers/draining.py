"""A server that cuts nobody short when it ends."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterable

from uvicorn import Server

# Seconds for all of a handshake; a connection is not known before it.
HANDSHAKE_SECONDS = 60.0
# Seconds in which a client that has just connected, or comes back to its connection, is heard.
_LAST_CALL = 0.5


class DrainingServer(Server):
    """uvicorn's server, which cuts nobody short when it ends, and lets the application end."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and accept connections on `sockets`."""
        await super().startup(sockets=[])
        await self.accept(sockets or [])

    async def accept(self, listeners: Iterable[socket.socket]) -> None:
        """Accept connections on `listeners`, with the TLS context of `config`.

        They stay the caller's: what is closed with a server is a duplicate.
        """
        for each in listeners:
            server = await asyncio.get_running_loop().create_server(
                self._connection,
                sock=each.dup(),
                ssl=self.config.ssl,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self.config.ssl is not None else None,
                backlog=self.config.backlog,
            )
            self.servers.append(server)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )  # type: ignore[call-arg]
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain; after a second SIGINT cut what is in flight, which notes how far it came."""
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        await self._last_call()
        await super().shutdown(sockets)
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()

    async def _last_call(self) -> None:
        """Hear whoever was accepted and has not spoken yet; tell all not to come back here.

        What is idle will be closed, and a request that is on its way at that moment is lost:
        nobody repeats the first on a connection, nor any that changes something.
        """
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(0)  # for those accepted just now
        deadline = time.monotonic() + _LAST_CALL
        # A connection that still shakes hands is not known here.
        while self.server_state.connections or self.config.ssl is not None:
            if self.force_exit or time.monotonic() > deadline:
                break
            await asyncio.sleep(_LAST_CALL / 20)
