"""A client that pipelines many requests delays only its own answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.serving.http1.connection import Connection
from registry_server.wiring.app import build
from storage.drivers.memory import MemoryDriver
from tests.http1.serving import Client, Served, answer, events, served, until
from tests.http1.test_connection import counted, head
from tests.http1.test_records import contexts

pytestmark = pytest.mark.disk

CONNECTIONS = 64
AT_ONCE = 256 << 10  # bytes, which a loop receives in one go
PROBES = 3
THOUSAND = 1000
# Bytes of a request that waits, twice: the loop may deliver once more after reading is paused.
MOST_WAITING = 2 * AT_ONCE
CHUNKS = 20_000
PROBE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Answering:
    """Counts the answers of an application, and records the count at each probe."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.count = 0
        self.at_probe = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self._app(scope, receive, send)
        self.count += 1
        if scope["path"] == "/":
            self.at_probe = self.count


def registry(limits: Mapping[str, Any]) -> ASGIApp:
    """Assemble the whole application over a driver in memory."""
    settings = validated(
        Settings, {"storage": {"inmemory": {}}, "limits": limits, "log": {"level": "error"}}
    )
    return build(settings, MemoryDriver())


def pipelined(path: str) -> bytes:
    """Return as many requests as arrive at once."""
    request = f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    return request * (AT_ONCE // len(request))


def connections(server: Served) -> Iterator[Connection]:
    """Yield the connections of a server."""
    for found in server.state.connections:
        assert isinstance(found, Connection)
        yield found


@asynccontextmanager
async def flooded(clients: list[Client], sent: bytes) -> AsyncIterator[None]:
    """Have all clients send concurrently, and read their answers until the block ends."""
    sending = [asyncio.create_task(client.send(sent)) for client in clients]
    reading = [asyncio.create_task(client.rest()) for client in clients]
    try:
        await asyncio.sleep(0)
        yield
    finally:
        for task in (*sending, *reading):
            task.cancel()
        await asyncio.gather(*sending, *reading, return_exceptions=True)


@pytest.mark.parametrize(
    ("path", "limits"),
    [
        ("/v2/", {}),
        ("/v2/", {"requests": {"perclient": 10}}),
        ("/v2/absent/manifests/latest", {}),
        ("/v2//", {}),
    ],
    ids=["answers", "limited", "errors", "redirects"],
)
async def test_another_client_is_answered_among_the_next_thousand(
    path: str, limits: Mapping[str, Any]
) -> None:
    """For every path, and whether the answer is a refusal."""
    app = Answering(await asyncio.to_thread(registry, limits))
    async with served(app) as server:
        clients = [await server.connect() for _ in range(CONNECTIONS)]
        async with flooded(clients, pipelined(path)):
            for _ in range(PROBES):
                probe, before = await server.connect(), app.count
                await probe.send(PROBE)
                assert (await probe.answer()).status == 200
                assert app.at_probe - before <= THOUSAND
            assert max(len(each._waiting) for each in connections(server)) <= MOST_WAITING


async def test_another_client_is_answered_soon_over_tls(tmp_path: Path) -> None:
    """Requests that were decrypted together take turns as well."""
    ours, theirs = await asyncio.to_thread(contexts, tmp_path)
    app = Answering(await asyncio.to_thread(registry, {}))
    async with served(app, tls=ours) as server:
        opened = [
            await asyncio.open_connection("127.0.0.1", server.port, ssl=theirs)
            for _ in range(CONNECTIONS // 4 + 1)
        ]
        (reader, probe), *others = opened
        for _, writer in others:
            writer.write(pipelined("/v2/"))
        probe.write(PROBE)
        await reader.readuntil(b"\r\n\r\n")
        assert app.at_probe <= THOUSAND
        for _, writer in opened:
            writer.transport.abort()


@pytest.mark.parametrize("path", ["/ignored", "/events", "/direct"])
async def test_another_client_is_answered_while_tiny_chunks_are_read(path: str) -> None:
    """Reading a chunk costs as much as a good part of an answer, so chunks wait for turns too."""
    at_probe: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/":
            framings = [each._framing for each in connections(server)]
            at_probe.append(sum(each.content for each in framings if each is not None))
        elif scope["path"] == "/events":
            async for _ in events(receive):
                pass
        elif scope["path"] == "/direct":
            async for _ in scope["extensions"]["registry.http.request.body_buffers"]():
                pass
        await answer(send, b"")

    async with served(app) as server:
        clients = [await server.connect() for _ in range(16)]
        for client in clients:
            await client.send(head(path, "Transfer-Encoding: chunked"))
        await until(lambda: sum(each._framing is not None for each in connections(server)) == 16,
                    "all have begun")  # fmt: skip
        probe = await server.connect()
        async with flooded(clients, b"1\r\nx\r\n" * CHUNKS):
            await probe.send(PROBE)
            assert (await probe.answer()).status == 200
    assert at_probe[0] <= 16 * CHUNKS // 4


@pytest.mark.parametrize("path", ["/events", "/ignored"])
async def test_reading_continues_after_an_early_answer(path: str) -> None:
    """What arrived of the body was more than is held; the rest is skipped as it comes."""
    chunk = b"9\r\nsome body\r\n"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/events":
            (found,) = connections(server)
            assert found._newest is not None
            # Each turn is looked at.
            while len(found._newest.body) <= 65_536 or not found._waiting:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await answer(send, b"no", 413)

    async with served(app) as server:
        client = await server.connect()
        await client.send(head(path, "Transfer-Encoding: chunked") + chunk * 15_000)
        assert (await client.answer()).status == 413
        async with asyncio.timeout(10):
            await client.send(chunk * 40_000 + b"0\r\n\r\n" + head("/last"))
            assert (await client.answer()).status == 413


async def test_answers_come_in_the_order_of_the_requests() -> None:
    """However many are sent at once, with bodies or without, and whichever takes longest."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b"".join([each async for each in events(receive)])
        if len(body) % 3 == 1:
            await asyncio.sleep(0)
        await answer(send, scope["path"].encode() + body)

    paths = [f"/{number}" for number in range(500)]
    requests = [counted(path, b"b" * (at % 7)) for at, path in enumerate(paths)]
    async with served(app) as server:
        client = await server.connect()
        await client.send(b"".join(requests))
        for at, path in enumerate(paths):
            assert (await client.answer()).body == path.encode() + b"b" * (at % 7)


async def test_answers_that_are_not_read_are_not_made() -> None:
    """A client that only sends fills just the small buffers of its own connection."""
    made = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal made
        made += 1
        await answer(send, bytes(50_000))

    async with served(app, send_buffer=4096) as server:
        client = await server.connect(receive_buffer=4096)
        await until(lambda: server.state.connections, "it is accepted")
        await client.send_while_taken(pipelined("/") * 4, 0.3)
        (found,) = connections(server)
        assert found.transport.get_write_buffer_size() <= 200_000
        assert made <= 20
        assert len(found._waiting) <= MOST_WAITING


async def test_all_that_was_sent_is_answered_to_a_client_that_sends_no_more() -> None:
    """Its end of stream counts after its last request, however long that request takes."""
    go_on, begun = asyncio.Event(), 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal begun
        begun += 1
        if begun == 3:
            await go_on.wait()
        await answer(send, b"ok")

    async with served(app) as server:
        client = await server.connect()
        await client.send(PROBE * 3)
        client.socket.shutdown(socket.SHUT_WR)
        await until(lambda: begun == 3, "the last is being answered")
        for _ in range(10):
            await asyncio.sleep(0.01)
        go_on.set()
        assert (await client.rest()).count(b"HTTP/1.1 200") == 3


async def test_a_drain_answers_what_waits_with_the_end() -> None:
    """The current request is the last, and its answer has `Connection: close`."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await answer(send, b"ok")

    async with served(app) as server:
        client = await server.connect()
        await client.send(PROBE * 3)
        await until(lambda: server.state.tasks, "one is being answered")
        for each in connections(server):
            each.shutdown()
        go_on.set()
        last = await client.answer()
        assert (last.body, last.header("Connection")) == (b"ok", "close")
        assert await client.rest() == b""
