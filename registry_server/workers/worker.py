"""A process that serves: alone, or as one of several on the same socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from uvicorn import Config, Server


class DrainingServer(Server):
    """uvicorn's server, which even in a hurry lets the application end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain; after a second SIGINT cut what is in flight, which notes how far it came."""
        await super().shutdown(sockets)
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
            await self.lifespan.shutdown()


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
        await super().startup(sockets=[])
        if await self._is_told_to_go():
            for each in sockets or []:
                await self._accept_on(each)
            asyncio.get_running_loop().add_reader(self._channel, self._drain)
        else:
            self._drain()

    async def _is_told_to_go(self) -> bool:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self._channel, b"!")
            return await loop.sock_recv(self._channel, 1) != b""
        return False

    async def _accept_on(self, listener: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(
            self._connection, sock=listener, ssl=self.config.ssl, backlog=self.config.backlog
        )
        self.servers.append(server)

    def _connection(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self.config.http_protocol_class(
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )  # type: ignore[call-arg]
        return made

    def _drain(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self.should_exit = True
