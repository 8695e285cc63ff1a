"""A process that serves: alone, or as one of several on the same socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterable

from uvicorn import Config, Server

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
        """Accept connections on `listeners` too, with the TLS context of `config`.

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


class Worker(DrainingServer):
    """A server that says when it could serve and accepts connections when it is told to.

    `channel` is the supervisor's other end. What is sent on it says "ready", what is received says
    "go", and its end, at any time, means: drain. The supervisor has hung up, or is gone.
    """

    def __init__(self, config: Config, channel: socket.socket) -> None:
        super().__init__(config)
        self._channel = channel
        self._channel.setblocking(False)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, wait for the word, and accept connections on `sockets`."""
        await super().startup()
        if await self._is_told_to_go():
            await self.accept(sockets or [])
            asyncio.get_running_loop().add_reader(self._channel, self._drain)
        else:
            self._drain()

    async def _is_told_to_go(self) -> bool:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self._channel, b"!")
            return await loop.sock_recv(self._channel, 1) != b""
        return False

    def _drain(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self.should_exit = True
