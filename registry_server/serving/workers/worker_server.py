"""The server of a worker process."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from uvicorn import Config

from registry_server.serving.workers.bounded_server import BoundedServer
from registry_server.serving.workers.heartbeat import BEAT_SECONDS, Heartbeat


class WorkerServer(BoundedServer):
    """A server that reports when it is ready, and accepts connections after a "go".

    `channel` is connected to the supervisor. A byte sent on it means "ready", a byte received means
    "go", and its end means "drain": the supervisor closed it or has exited. `heartbeat` beats while
    the event loop runs.
    """

    def __init__(self, config: Config, channel: socket.socket, heartbeat: Heartbeat) -> None:
        super().__init__(config)
        self._channel = channel
        self._channel.setblocking(False)
        self._heartbeat = heartbeat

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, wait for "go", and accept connections on `sockets`."""
        self._beat(asyncio.get_running_loop())
        await super().startup()
        if await self._may_accept():
            await self.accept(sockets or [])
            asyncio.get_running_loop().add_reader(self._channel, self._drain)
        else:
            self._drain()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._heartbeat.beat()
        loop.call_later(BEAT_SECONDS, self._beat, loop)

    async def _may_accept(self) -> bool:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(self._channel, b"!")
            return await loop.sock_recv(self._channel, 1) != b""
        return False

    def _drain(self) -> None:
        asyncio.get_running_loop().remove_reader(self._channel)
        self.should_exit = True
