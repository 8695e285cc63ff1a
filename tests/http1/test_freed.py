"""A connection that has ended leaves nothing to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from registry_server.serving.http1.connection import Connection
from registry_server.serving.http1.request_heads import HeadInvalid, HeadReader, read
from tests.http1.serving import answer, batches, events, served, until
from tests.http1.test_connection import head
from tests.http1.test_records import contexts

pytestmark = pytest.mark.disk

WAYS = {
    "before a request": b"",
    "within a head": b"GET /",
    "after an answer": head("/"),
    "after a refusal": b"?\r\n\r\n",
    "within a body": head("/", "Content-Length: 100000") + b"x" * 70000,
    "within a body that is received directly": head("/direct", "Content-Length: 100000") + b"x",
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read a body, directly where that is possible, and answer."""
    directly = scope["path"] == "/direct" and "extensions" in scope
    with suppress(ClientDisconnect):
        async for _ in batches(scope) if directly else events(receive):
            continue
        await answer(send, b"read")


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_a_connection_is_freed_when_it_ends(
    way: str, is_secure: bool, tmp_path: Path, uncollected: None
) -> None:
    """So is its TLS state, wherever in a request the client leaves."""
    ours, theirs = await asyncio.to_thread(contexts, tmp_path) if is_secure else (None, None)
    async with served(app, tls=ours) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=theirs)
        await until(lambda: server.state.connections, "it is there")
        left = _parts(server.state)
        assert len(left) == 1 + is_secure
        writer.write(WAYS[way])
        if way.startswith("after"):
            assert await reader.readuntil(b"\r\n\r\n")
        elif "body" in way:
            await until(lambda: server.state.tasks, "the body is being read")
        writer.transport.abort()
        await until(lambda: not any(each() for each in left), "it is freed")


def _parts(state: ServerState) -> list[weakref.ref[object]]:
    """Return the connection, and the server's side of its TLS if it has that."""
    (connection,) = state.connections
    assert isinstance(connection, Connection)
    tls: ssl.SSLObject | None = connection.transport.get_extra_info("ssl_object")
    return [weakref.ref(each) for each in (connection, tls) if each is not None]


async def test_a_connection_without_a_handshake_is_freed(uncollected: None) -> None:
    """The event loop makes one per client, and drops it when the handshake fails."""
    config = Config(app, log_config=None, lifespan="off", ws="none", proxy_headers=False)
    left = weakref.ref(Connection(config=config, server_state=ServerState(), app_state={}))
    assert left() is None


LONG = "x" * 2000


@pytest.mark.parametrize(
    "request_head", [head("/", f"X-Long: {LONG}"), b"?" + head("/"), head("/")[:-2] + b"?\r\n\r\n"]
)
def test_a_head_that_is_read_leaves_nothing(request_head: bytes, uncollected: None) -> None:
    """A client that sends long heads would fill the memory before the collector runs."""
    with suppress(HeadInvalid):
        read(request_head)
    assert _readers() == 0


async def test_a_head_that_arrives_in_parts_leaves_nothing(uncollected: None) -> None:
    """So does one that stays incomplete until its client leaves."""
    async with served(app) as server:
        client = await server.connect()
        request = head("/", f"X-Long: {LONG}")
        for sent in (request[:-2], request[-2:], request[:-2]):
            await client.send(sent)
            if sent == request[-2:]:
                assert (await client.head()).status == 200
                await client.read(4)
            else:
                await until(lambda: _readers() == 1, "the head is being read")
        client.vanish()
        await until(lambda: not server.state.connections, "it has ended")
    assert _readers() == 0


def _readers() -> int:
    return sum(isinstance(each, HeadReader) for each in gc.get_objects())
