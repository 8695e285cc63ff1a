"""Answers that clients do not read and manifests left incomplete hold little memory."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from registry_server.serving.http1 import exchange, incoming_head
from registry_server.serving.http1.backlog import Backlog
from registry_server.serving.http1.connection import Connection
from registry_server.v2.bodies import read_limited
from tests.http1.serving import Client, Served, answer, served, until
from tests.http1.test_connection import head
from tests.http1.test_records import contexts

pytestmark = pytest.mark.disk

SMALL = 4096
LARGE = 4 << 20
LONG = 60_000
# Bytes that the transport may hold of an answer: a part, and one more under TLS.
MOST_HELD = 1 << 20


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a repeated letter, or, after a whole request body, with "complete"."""
    body = await read_limited(Request(scope, receive), LARGE)
    await answer(send, b"complete" if body else scope["path"][1:].encode() * LARGE)


@pytest.fixture
def backlog(monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """Limit the backlog to two and a half answers."""
    made = Backlog(5 * LARGE // 2, 0.0)
    monkeypatch.setattr(exchange, "BACKLOG", made)
    return made


async def _asked(server: Served, letter: str) -> Client:
    client = await server.connect(receive_buffer=SMALL)
    await client.send(head(f"/{letter}", "Connection: close"))
    return client


async def _until_waiting(backlog: Backlog, count: int) -> None:
    await until(lambda: len(backlog._waits) == count, f"{count} answers wait")


async def _until_held(backlog: Backlog, size: int) -> None:
    await until(lambda: backlog.size == size, f"{size} bytes are held")


async def test_the_answer_that_waits_longest_is_dropped(backlog: Backlog) -> None:
    """The others arrive whole, and no memory stays held."""
    async with served(app, send_buffer=SMALL) as server:
        clients = []
        for count, letter in enumerate("abc", start=1):
            clients.append(await _asked(server, letter))
            await _until_waiting(backlog, min(count, 2))
        await until(lambda: len(server.state.connections) == 2, "the first is dropped")
        first, *others = [await client.rest() for client in clients]
        assert len(first) < LARGE
        assert [
            said.endswith(letter * LARGE) for said, letter in zip(others, (b"b", b"c"), strict=True)
        ] == [True, True]
    assert backlog.size == 0


async def test_a_client_that_keeps_reading_is_not_dropped(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even over the limit, as long as no answer has waited too long."""
    monkeypatch.setattr(backlog, "_seconds", 60.0)
    async with served(app, send_buffer=SMALL) as server:
        clients = [await _asked(server, letter) for letter in "abcd"]
        await _until_waiting(backlog, 4)
        for client, letter in zip(clients, (b"a", b"b", b"c", b"d"), strict=True):
            assert (await client.rest()).endswith(letter * LARGE)
    assert backlog.size == 0


async def test_answers_over_the_limit_are_dropped_once_they_waited_long_enough(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if no other request starts to wait by then."""
    monkeypatch.setattr(backlog, "_seconds", 0.2)
    begun: list[str] = []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        await app(scope, receive, send)

    async with served(noting, send_buffer=SMALL) as server:
        clients = [await _asked(server, letter) for letter in "abcd"]
        await until(lambda: len(begun) == 4, "all four have begun")
        await until(lambda: len(server.state.connections) == 2, "two are dropped")
        said = [await client.rest() for client in clients]
        assert sorted(len(each) >= LARGE for each in said) == [False, False, True, True]
    assert backlog.size == 0


async def test_the_transport_holds_a_part_of_an_answer(backlog: Backlog) -> None:
    """The rest counts as backlog, and is dropped when the client leaves."""
    async with served(app, send_buffer=SMALL) as server:
        client = await _asked(server, "a")
        await _until_waiting(backlog, 1)
        (found,) = server.state.connections
        assert isinstance(found, Connection)
        assert found.transport.get_write_buffer_size() <= MOST_HELD
        assert backlog.size >= LARGE - MOST_HELD
        client.socket.close()
        await until(lambda: backlog.size == 0, "the answer is dropped")


async def test_a_pipelined_request_waits_until_the_previous_answer_is_read(
    backlog: Backlog,
) -> None:
    """Pipelining holds no more memory; an answer of one part waits as well."""
    begun: list[str] = []

    async def parts(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["path"])
        await answer(send, scope["path"][1:].encode() * MOST_HELD)

    async with served(parts, send_buffer=SMALL) as server:
        client = await server.connect(receive_buffer=SMALL)
        await client.send(head("/a") + head("/b", "Connection: close"))
        await _until_waiting(backlog, 1)
        assert begun == ["/a"]
        assert (await client.rest()).endswith(b"b" * MOST_HELD)
        assert begun == ["/a", "/b"]
    assert backlog.size == 0


async def test_large_answers_over_tls_wait_as_well(backlog: Backlog, tmp_path: Path) -> None:
    """They are encrypted in parts, and arrive whole."""
    ours, theirs = await asyncio.to_thread(contexts, tmp_path)
    async with served(app, tls=ours, send_buffer=SMALL) as server:
        reader, writer = await _secure(server, theirs)
        writer.write(head("/a", "Connection: close"))
        await _until_waiting(backlog, 1)
        assert backlog.size >= LARGE - 2 * MOST_HELD
        assert (await reader.read(-1)).endswith(b"a" * LARGE)
        writer.transport.abort()
    assert backlog.size == 0


async def test_parts_of_answers_that_are_not_taken_over_tls_wait_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A blob is read in parts; over TLS these are in memory, and the oldest client is dropped."""
    streams = Backlog(3 * MOST_HELD, 0.0)
    monkeypatch.setattr(exchange, "STREAMS", streams)
    ours, theirs = await asyncio.to_thread(contexts, tmp_path)

    async def parts(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(8):
            body = b"a" * MOST_HELD
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with served(parts, tls=ours, send_buffer=SMALL) as server:
        clients = [await _secure(server, theirs) for _ in range(3)]
        await until(lambda: len(server.state.connections) == 3, "all are connected")
        for _, writer in clients:
            writer.write(head("/a", "Connection: close"))
        await until(lambda: len(server.state.connections) < 3, "one is dropped")
        for _, writer in clients:
            writer.transport.abort()
        await until(lambda: streams.size == 0, "nothing waits")


async def _secure(
    server: Served, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", server.port, ssl=context, limit=SMALL)


async def test_the_body_that_waits_longest_is_dropped(backlog: Backlog) -> None:
    """The others can be completed."""
    async with served(app) as server:
        clients = [await server.connect() for _ in range(3)]
        for count, client in enumerate(clients, start=1):
            await client.send(head("/a", f"Content-Length: {LARGE}"))
            await client.send(bytes(LARGE - 1))
            await _until_held(backlog, min(count, 2) * (LARGE - 1))
        assert await clients[0].rest() == b""
        for client in clients[1:]:
            await client.send(b"x")
            assert (await client.answer()).body == b"complete"
    assert backlog.size == 0


def _long(path: str) -> bytes:
    return head(path, f"X-Long: {'x' * LONG}")


async def test_a_response_that_waits_counts_its_request_and_those_sent_after_it(
    backlog: Backlog,
) -> None:
    """Long heads are in memory as well as the response, however small it is."""
    async with served(app, send_buffer=SMALL) as server:
        client = await server.connect(receive_buffer=SMALL)
        await client.send(_long("/a"))
        await until(lambda: backlog.size >= LARGE + LONG, "the head is counted")
        before = backlog.size
        await client.send(_long("/b"))
        await until(lambda: backlog.size >= before + LONG, "the next request is counted")
        client.vanish()
        await until(lambda: backlog.size == 0, "nothing is counted any longer")


async def test_a_file_that_waits_counts_its_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file is not in memory, but its request is."""
    streams = Backlog()
    monkeypatch.setattr(exchange, "STREAMS", streams)
    path = tmp_path / "file"
    path.write_bytes(bytes(LARGE))

    async def sending(scope: Scope, receive: Receive, send: Send) -> None:
        length = [(b"content-length", b"%d" % LARGE)]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        with path.open("rb") as file:
            part = {"file": file, "offset": 0, "count": LARGE}
            await send({"type": "http.response.zerocopysend", **part})

    async with served(sending, send_buffer=SMALL) as server:
        client = await server.connect(receive_buffer=SMALL)
        await client.send(_long("/a"))
        await until(lambda: streams.size >= 4 * LONG, "the request is counted")
        await client.send(_long("/b"))
        await until(lambda: streams.size >= 5 * LONG, "the next request is counted")
        client.vanish()
        await until(lambda: streams.size == 0, "nothing is counted any longer")


async def test_a_long_head_that_stays_incomplete_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client that waits longest is dropped; a short head is not counted."""
    heads = Backlog(0, 0.0)
    monkeypatch.setattr(incoming_head, "INCOMPLETE_HEADS", heads)
    async with served(app) as server:
        short = await server.connect()
        await short.send(b"POST / HTTP/1.1\r\n")
        long = await server.connect()
        await long.send(_long("/a")[:-2])
        assert await long.rest() == b""
        await short.send(b"Host: a\r\nContent-Length: 1\r\n\r\nx")
        assert (await short.answer()).body == b"complete"
    assert heads.size == 0


async def test_a_long_head_that_arrives_in_parts_is_no_longer_counted_once_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its request is answered as any other."""
    heads = Backlog()
    monkeypatch.setattr(incoming_head, "INCOMPLETE_HEADS", heads)
    async with served(app) as server:
        client = await server.connect()
        request = head("/", f"X-Long: {'x' * LONG}", "Content-Length: 1")
        await client.send(request[:-2])
        await until(lambda: heads.size > 0, "the head is counted")
        await client.send(request[-2:] + b"x")
        assert (await client.answer()).body == b"complete"
        assert heads.size == 0
