"""Our connections on the test's own loop, over real sockets, and a raw client for them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any, Self

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from registry_server.http.extensions import BODY_BUFFERS
from registry_server.serving.http1.connection import Connection
from tests.support.wire import Answer

PATIENCE = 10.0
ZERO_COPY = "http.response.zerocopysend"


class Client:
    """One connection to a server, on the server's loop and without blocking calls."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._loop = asyncio.get_running_loop()
        self._read = b""

    @classmethod
    async def to(cls, port: int, *, receive_buffer: int | None = None) -> Self:
        """Connect; a small `receive_buffer` (bytes) makes the server wait sooner."""
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        return cls(made)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._loop.sock_sendall(self.socket, data)

    async def send_apart(self, *pieces: bytes) -> None:
        """Send pieces so that each arrives on its own."""
        for piece in pieces:
            await self.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    async def send_while_taken(self, data: bytes, pause: float) -> int:
        """Send until the server reads nothing for `pause` seconds; return the bytes sent."""
        sent, last = 0, time.monotonic()
        while sent < len(data) and time.monotonic() - last < pause:
            try:
                sent += self.socket.send(data[sent : sent + (1 << 20)])
                last = time.monotonic()
            except BlockingIOError:
                await asyncio.sleep(0.005)
        return sent

    async def read(self, size: int) -> bytes:
        """Read `size` bytes; fewer only at the end, be it a proper one or a reset."""
        while len(self._read) < size and await self._more():
            pass
        data, self._read = self._read[:size], self._read[size:]
        return data

    async def rest(self) -> bytes:
        """Read to the end."""
        return await self.read(1 << 40)

    async def head(self) -> Answer:
        """Read the head of an answer, and leave its body to be read."""
        while b"\r\n\r\n" not in self._read:
            assert await self._more(), f"no head in {self._read!r}"
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        status_line, _, lines = head.partition(b"\r\n")
        assert status_line.startswith(b"HTTP/1.1 "), status_line
        headers = message_from_bytes(lines + b"\r\n\r\n")
        return Answer(int(status_line.split()[1]), headers, b"")

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer to `method`; an interim one (1xx) counts."""
        head = await self.head()
        bodiless = method == "HEAD" or head.status < 200 or head.status in {204, 304}
        length = 0 if bodiless else int(head.header("Content-Length"))
        return Answer(head.status, head.headers, await self.read(length))

    def vanish(self) -> None:
        """Close the connection with a reset."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def close(self) -> None:
        """Close the connection properly."""
        self.socket.close()

    async def _more(self) -> bool:
        try:
            data = await self._loop.sock_recv(self.socket, 1 << 18)
        except ConnectionError:
            return False
        self._read += data
        return bool(data)


@dataclass
class Served:
    """A served application; `failures` are the contexts of the loop's exception handler."""

    port: int
    state: ServerState
    opened: list[Client] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open a connection, which is closed at the end."""
        self.opened.append(await Client.to(self.port, receive_buffer=receive_buffer))
        return self.opened[-1]


@asynccontextmanager
async def served(
    app: ASGIApp, *, send_buffer: int | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Served]:
    """Serve `app` until the block ends; fail if a connection or a request outlives its client.

    With a small `send_buffer` (bytes) the kernel soon takes no more than the client does.
    """
    config = Config(app, log_config=None, lifespan="off", ws="none", proxy_headers=False)
    config.load()
    config.ssl = tls
    loop, state = asyncio.get_running_loop(), ServerState()
    listener = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}),
        sock=listener,
        ssl=tls,
    )
    made = Served(listener.getsockname()[1], state)
    loop.set_exception_handler(lambda _, context: made.failures.append(context))
    try:
        async with asyncio.timeout(50):
            yield made
    finally:
        for client in made.opened:
            client.close()
        server.close()
        await until(lambda: not state.connections, "connections are left behind", fails=False)
        await until(lambda: not state.tasks, "requests are left behind", fails=False)
        left = len(state.connections), len(state.tasks)
        for task in state.tasks:
            task.cancel()
        loop.set_exception_handler(None)
    assert left == (0, 0), "connections and requests that are left behind"
    assert not made.failures


async def until(happened: Callable[[], object], what: str, *, fails: bool = True) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            assert not fails, what
            return
        await asyncio.sleep(0.002)


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    """Answer with a body of a known length."""
    length = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": length})
    await send({"type": "http.response.body", "body": body})


def batches(scope: Scope) -> AsyncIterator[memoryview]:
    """Return the body as direct batches, without events."""
    made: AsyncIterator[memoryview] = scope["extensions"][BODY_BUFFERS]()
    return made


async def events(receive: Receive) -> AsyncIterator[bytes]:
    """Yield a body as ASGI's events bring it; raise ClientDisconnect if the client leaves."""
    more = True
    while more:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)
