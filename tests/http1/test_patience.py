"""Timeouts: slow heads, handshakes, idle clients, answers that are not read."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import ssl
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from registry_server.serving.http1 import connection
from registry_server.serving.http1.connection import Connection
from registry_server.serving.workers import draining_server
from registry_server.serving.workers.draining_server import DrainingServer
from tests.http1.serving import ZERO_COPY, Client, answer, served, until
from tests.http1.test_connection import counted, digester, head
from tests.support.certificates import certificate

pytestmark = [pytest.mark.slow, pytest.mark.disk]

SECONDS = 0.5
# A window that stays shut counts since then.
SHUT_WINDOWS = (5, 11)


async def drip(client: Client, pieces: bytes) -> bytes:
    """Send a byte now and then, until the server has ended the connection; return what it said."""
    said = asyncio.create_task(client.rest())
    for at in range(200):
        try:
            await client.send(pieces[at % len(pieces) :][:1] if pieces else b"")
        except OSError:
            break
        await asyncio.sleep(0.05)
        if said.done():
            return said.result()
    assert said.done(), "the client gave up first"
    return said.result()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the timeouts to half a second."""
    monkeypatch.setattr(connection, "HEAD_SECONDS", SECONDS)
    monkeypatch.setattr(draining_server, "HANDSHAKE_SECONDS", SECONDS)


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("dripped", [b"x", b"\r\n"])
async def test_the_time_for_a_head_is_for_all_of_it(before: int, dripped: bytes) -> None:
    """A byte does not extend it; the second head of a connection has as much as the first."""
    async with served(digester) as server:
        client = await server.connect()
        for _ in range(before):
            await client.send(counted("/direct", b"some"))
            assert (await client.answer()).status == 200
            await asyncio.sleep(0.1)
        if dripped == b"x":
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        said = await drip(client, dripped)
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.count(b"HTTP/1.1") == 1


async def test_a_silent_client_is_closed_without_an_answer() -> None:
    """The connection ends when the time for the first head is over."""
    async with served(digester) as server:
        client = await server.connect()
        assert await client.rest() == b""


async def test_an_idle_connection_is_closed() -> None:
    """Between two requests the keep-alive timeout applies; blank lines are no request."""
    async with served(digester) as server:
        client = await server.connect()
        await client.send(counted("/direct", b"some"))
        await until(lambda: server.state.connections, "it is accepted")
        (found,) = server.state.connections
        assert isinstance(found, Connection)
        found.timeout_keep_alive = 0.3
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


async def test_a_head_that_waits_for_an_answer_has_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing more is read of it meanwhile."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await digester(scope, receive, send)

    async with served(app) as server:
        client = await server.connect()
        await client.send_apart(head("/first"), head("/second")[:-5])
        await asyncio.sleep(3 * SECONDS)
        go_on.set()
        await client.send(head("/second")[-5:])
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("drips", [True, False])
async def test_the_time_for_a_handshake_is_for_all_of_it(tmp_path: Path, drips: bool) -> None:
    """A client that never begins TLS, or sends it slowly, holds a descriptor until then."""
    await asyncio.to_thread(certificate, tmp_path)
    config = Config(digester, log_config=None, lifespan="off", ws="none", http=Connection)
    config.load()
    config.ssl = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(config.ssl.load_cert_chain, tmp_path / "cert.pem", tmp_path / "key.pem")
    server, listener = DrainingServer(config), socket.create_server(("127.0.0.1", 0))
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    try:
        client = await Client.to(listener.getsockname()[1])
        # The head of a record, and of a hello in it that is as long as it may be.
        hello = b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03" + bytes(1000)
        assert b"HTTP" not in await drip(client, hello if drips else b"")
        client.close()
    finally:
        for each in server.servers:
            each.close()
        listener.close()


def _kernel_times_out_shut_windows() -> bool:
    found = tuple(int(part) for part in platform.release().split(".")[:2] if part.isdigit())
    return hasattr(socket, "TCP_USER_TIMEOUT") and found >= SHUT_WINDOWS


@pytest.mark.skipif(not _kernel_times_out_shut_windows(), reason="Linux 5.11 or later does this")
@pytest.mark.parametrize("way", ["file", "stream", "closing"])
async def test_a_client_that_reads_nothing_of_its_answer_is_dropped(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads some of it now and then is served to the end."""
    monkeypatch.setattr(connection, "STALLED_SECONDS", 1.5)
    size = 32 << 20
    path = tmp_path / "file"
    await asyncio.to_thread(path.write_bytes, bytes(size))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if way != "file":
            await answer(send, bytes(size))
            return
        length = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        with os.fdopen(os.open(path, os.O_RDONLY), "rb") as file:
            await send({"type": ZERO_COPY, "file": file, "offset": 0, "count": size})

    lines = ["Connection: close"] if way == "closing" else []
    async with served(app) as server:
        taking = await server.connect(receive_buffer=1 << 16)
        await taking.send(head("/", *lines))
        idle = await server.connect(receive_buffer=1 << 16)
        await idle.send(head("/", *lines))
        await until(lambda: len(server.state.connections) == 2, "both are served")
        taken = 0
        while len(server.state.connections) == 2:
            taken += len(await taking.read(1 << 18))
            assert taken < size, "the idle client is never dropped"
            await asyncio.sleep(0.1)
        (left,) = server.state.connections
        assert isinstance(left, Connection)
        assert left.client == taking.socket.getsockname()
        assert len(await taking.rest()) > size - taken - 1000
