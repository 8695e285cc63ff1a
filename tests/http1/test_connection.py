"""Incoming requests: split anywhere, pipelined, malformed, abandoned."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from registry_server.serving.http1 import direct
from tests.http1.serving import Served, answer, batches, events, served, until

MIB = 1 << 20
LAST = b"0\r\nX-Trailer: t\r\n\r\n"
CONTENT = random.Random(1).randbytes(12 * MIB + 12_345)


def digest(content: bytes) -> bytes:
    """Name content."""
    return hashlib.sha256(content).hexdigest().encode()


def head(path: str, *lines: str) -> bytes:
    """Return the head of a POST."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


def counted(path: str, content: bytes) -> bytes:
    """Return a POST with its length."""
    return head(path, f"Content-Length: {len(content)}") + content


def chunked(path: str, content: bytes, sizes: list[int]) -> bytes:
    """Return a POST in chunks of `sizes`, over and over, with an extension and a trailer."""
    framed, at, number = [], 0, 0
    while at < len(content):
        chunk = content[at : at + sizes[number % len(sizes)]]
        framed.append(b"%x%b\r\n%b\r\n" % (len(chunk), b";x=y" * (number % 2), chunk))
        at, number = at + len(chunk), number + 1
    return head(path, "Transfer-Encoding: chunked") + b"".join(framed) + LAST


async def body_of(scope: Scope, receive: Receive) -> AsyncIterator[memoryview | bytes]:
    """Read a body the way its path asks for."""
    async for data in batches(scope) if scope["path"] == "/direct" else events(receive):
        yield data


async def digester(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the digest of the body."""
    hasher = hashlib.sha256()
    async for data in body_of(scope, receive):
        hasher.update(data)
    await answer(send, hasher.hexdigest().encode())


class Reader:
    """Reads bodies to their end, or to an interruption."""

    def __init__(self) -> None:
        self.found = b""
        self.broke_off: bool | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read what arrives, and answer, whether the client reads or not."""
        found = bytearray()
        try:
            async for data in body_of(scope, receive):
                found += data
        except ClientDisconnect:
            self.broke_off = True
        else:
            self.broke_off = False
        finally:
            self.found = bytes(found)
        await answer(send, b"")


@pytest.mark.parametrize("path", ["/direct", "/events"])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
async def test_every_split_of_two_requests(path: str, framing: str) -> None:
    """Wherever the packets end, in the head, the body or the next request."""
    content = b"some content\r\n\r\n0\r\n\r\n"
    first = counted(path, content) if framing == "counted" else chunked(path, content, [4, 1])
    sent = first + counted(path, b"next") + head("/events")
    async with served(digester) as server:
        for cut in range(1, len(sent)):
            client = await server.connect()
            await client.send_apart(sent[:cut], sent[cut:])
            for expected in (content, b"next", b""):
                assert (await client.answer()).body == digest(expected), cut
            client.close()


@pytest.mark.parametrize("path", ["/direct", "/events"])
async def test_requests_in_single_bytes(path: str) -> None:
    """The slowest sender, with both framings on one connection."""
    content = b"some content"
    async with served(digester) as server:
        client = await server.connect()
        sent = counted(path, content) + chunked(path, content, [5]) + counted(path, b"")
        await client.send_apart(*(bytes([byte]) for byte in sent))
        for expected in (content, content, b""):
            assert (await client.answer()).body == digest(expected)


@pytest.mark.parametrize("seed", range(3))
async def test_large_bodies_cut_anywhere(seed: int) -> None:
    """More than several buffers, in both framings, in packets and chunks of all sizes."""
    chance = random.Random(seed)
    sizes = [chance.choice([1, 3, 1000, 8192, 65_536, MIB, 3 * MIB]) for _ in range(40)]
    sent = b"".join(
        [
            counted("/direct", CONTENT),
            chunked("/direct", CONTENT, sizes),
            counted("/direct", CONTENT[:5]),
            chunked("/events", CONTENT[: 4 * MIB], sizes),
            chunked("/direct", CONTENT[: 4 * MIB], [chance.randrange(1, 40) * 997]),
        ]
    )
    async with served(digester) as server:
        client = await server.connect()

        async def send() -> None:
            at = 0
            while at < len(sent):
                size = chance.choice([1, 100, 5000, 70_000, 700_000, 2 * MIB])
                await client.send(sent[at : at + size])
                at += size

        sending = asyncio.create_task(send())
        for length in (len(CONTENT), len(CONTENT), 5, 4 * MIB, 4 * MIB):
            assert (await client.answer()).body == digest(CONTENT[:length])
        await sending


async def test_requests_behind_a_body_in_one_packet() -> None:
    """Dozens of them, begun in the midst of a large buffer, are answered in order."""
    parts = []
    for number in range(60):
        content = b"%d" % number * (number * 37 % 50)
        parts.append((content, counted("/direct", content)))
        parts.append((content, chunked("/direct", content, [number + 1])))
    async with served(digester) as server:
        client = await server.connect()
        await client.send_apart(head("/direct", f"Content-Length: {MIB}"), bytes(MIB - 1))
        await client.send(bytes(1) + b"".join(sent for _, sent in parts))
        assert (await client.answer()).body == digest(bytes(MIB))
        for content, _ in parts:
            assert (await client.answer()).body == digest(content)


@pytest.mark.parametrize("framing", ["counted", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
async def test_a_batch_is_valid_until_the_third_after_it_is_requested(
    framing: str, size: int
) -> None:
    """While two are dealt with and a third was handed out, none is received into again; and what
    arrived before the body was requested counts.
    """
    found: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        held: list[memoryview] = []
        await asyncio.sleep(0.02)  # some of the body arrives before it is requested
        async for batch in batches(scope):
            await asyncio.sleep(0.001)  # and some of the next, meanwhile
            held.append(batch)
            if len(held) == 3:
                found.append(bytes(held.pop(0)))
        found.extend(map(bytes, held))
        await answer(send, digest(b"".join(found)))

    content = CONTENT[: 6 * MIB]
    async with served(app) as server:
        client = await server.connect()
        sent = counted("/", content) if framing == "counted" else chunked("/", content, [9999])
        await client.send_apart(sent[:size], sent[size:])
        assert (await client.answer()).body == digest(content)
    assert all(found)
    assert max(map(len, found)) > 100_000


@pytest.mark.parametrize("path", ["/direct", "/events"])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
@pytest.mark.parametrize("ends", ["reset", "end", "malformed"])
async def test_an_interrupted_body_yields_what_arrived_and_no_more(
    path: str, framing: str, ends: str
) -> None:
    """Each byte before the interruption is delivered, and the interruption is reported."""
    reader = Reader()
    content = CONTENT[: 3 * MIB + 5]
    begin = head(path, f"Content-Length: {len(content) + 1}") + content
    if framing == "chunked" or ends == "malformed":
        begin = chunked(path, content, [400_000]).removesuffix(LAST)
    async with served(reader) as server:
        client = await server.connect()
        await client.send(begin)
        await asyncio.sleep(0.1)
        if ends == "malformed":
            await client.send(b"nonsense\r\n")
            assert (await client.answer()).status == 400
            assert await client.rest() == b""
        else:
            client.vanish() if ends == "reset" else client.close()
        await until(lambda: reader.broke_off is not None, "it ends")
    assert reader.broke_off
    if path == "/direct":  # with events, what was not fetched is lost with the connection
        assert reader.found == content
    assert content.startswith(reader.found)


@pytest.mark.parametrize("arrived", [b"", b"abc"])
@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_client_that_left_before_the_body_was_requested(
    arrived: bytes, reset: bool, framing: str
) -> None:
    """A handler that was busy sees the disconnect immediately: it may hold a lock."""
    reader = Reader()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await until(lambda: not server.state.connections, "the client is seen to be gone")
        await reader(scope, receive, send)

    async with served(app) as server:
        client = await server.connect()
        framed = b"%x\r\n%b" % (len(arrived) + 1, arrived) if "chunked" in framing else arrived
        await client.send_apart(head("/direct", framing) + framed, b"")
        client.vanish() if reset else client.close()
        await until(lambda: reader.broke_off is not None, "the handler ends")
    assert reader.broke_off
    assert arrived.startswith(reader.found)


@pytest.mark.parametrize("arrived", [0, 5, MIB + 5, 2 * MIB + 100])
async def test_a_cancelled_handler_gets_what_arrived_before(arrived: int) -> None:
    """A drain that times out ends an upload, which keeps all bytes that were sent."""
    found = bytearray()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async for batch in batches(scope):
            found.extend(batch)

    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/", f"Content-Length: {len(CONTENT)}") + CONTENT[:arrived])
        await asyncio.sleep(0.2)
        (task,) = server.state.tasks
        task.cancel()
        assert (await client.answer()).status == 500
    assert bytes(found) == CONTENT[:arrived]


@pytest.mark.parametrize("path", ["/direct", "/events"])
@pytest.mark.parametrize("framing", ["Content-Length: 4", "Transfer-Encoding: chunked"])
async def test_100_continue_is_sent_once(path: str, framing: str) -> None:
    """`Expect: 100-continue`: when the application reads the body, and not before."""
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await digester(scope, receive, send)

    body = b"body" if "Length" in framing else b"4\r\nbody\r\n0\r\n\r\n"
    async with served(app) as server:
        client = await server.connect()
        await client.send(head(path, "Expect: 100-continue", framing))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.read(1)
        asked.set()
        assert (await client.answer()).status == 100
        await client.send_apart(body[:2], body[2:])
        final = await client.answer()
        assert (final.status, final.body) == (200, digest(b"body"))
        await client.send(counted(path, b"more"))
        assert (await client.answer()).body == digest(b"more")


@pytest.mark.parametrize("asks_first", [True, False])
@pytest.mark.parametrize("framing", ["counted", "chunked"])
@pytest.mark.parametrize("size", [1, 100_000, 5 * MIB])
async def test_an_answer_before_the_body_was_read(
    asks_first: bool, framing: str, size: int
) -> None:
    """No 100 is sent; if the client sends the body all the same, the connection stays usable."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 413)

    content = bytes(size)
    sent = counted("/", content) if framing == "counted" else chunked("/", content, [70_000])
    if asks_first:
        sent = sent.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue", 1)
    start, _, body = sent.partition(b"\r\n\r\n")
    async with served(app) as server:
        client = await server.connect()
        await client.send(start + b"\r\n\r\n")
        first = await client.answer()
        assert (first.status, first.body) == (413, b"no")
        if first.headers["Connection"] != "close":
            await client.send(body + head("/"))
            assert (await client.answer()).status == 413
        else:
            assert await client.rest() == b""


@pytest.mark.parametrize("framing", ["counted", "chunked"])
async def test_an_answer_in_the_middle_of_a_body(framing: str) -> None:
    """A full disk: the answer is sent while the client still sends; the rest is skipped."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/direct":
            async for _ in batches(scope):
                break
        await answer(send, b"full", 507)

    content = CONTENT[: 8 * MIB]
    first = counted("/direct", content)
    if framing == "chunked":
        first = chunked("/direct", content, [123_456])
    async with served(app) as server:
        for _ in range(3):
            client = await server.connect()
            sending = asyncio.create_task(client.send(first + head("/")))
            for _ in range(2):
                assert (await client.answer()).status == 507
            await sending
    assert not direct._under_way


async def test_a_body_that_is_not_taken_is_not_read() -> None:
    """The client has to wait once the buffers are full."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = batches(scope)
        await anext(body)
        await go_on.wait()
        async for _ in body:
            pass
        await answer(send, b"")

    size = 64 * MIB
    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/", f"Content-Length: {size}"))
        sent = await client.send_while_taken(bytes(size), 0.3)
        assert MIB < sent < size // 2
        go_on.set()
        sent += await client.send_while_taken(bytes(size - sent), 3.0)
        assert sent == size
        assert (await client.answer()).status == 200


async def test_many_bodies_at_once_have_smaller_buffers() -> None:
    """The memory of all buffers together is bounded; each body is complete."""
    largest: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        hasher = hashlib.sha256()
        async for batch in batches(scope):
            largest.append(len(batch))
            hasher.update(batch)
        await answer(send, hasher.hexdigest().encode())

    content = CONTENT[: 2 * MIB]
    sent = counted("/", content)
    cut = len(sent) - 2 * MIB
    async with served(app) as server:
        clients = [await server.connect() for _ in range(24)]
        for client in clients:
            await client.send(sent[:cut])
        await until(lambda: len(direct._under_way) == len(clients), "all have begun")
        await asyncio.gather(*(client.send(sent[cut:]) for client in clients))
        for client in clients:
            assert (await client.answer()).body == digest(content)
    assert sum(sorted(largest)[-24:]) * 2 < 48 * MIB
    assert min(largest) < MIB // 2
    assert not direct._under_way


async def test_a_bad_request_behind_good_ones() -> None:
    """The earlier requests are answered, the bad one is refused, the connection ends."""
    async with served(digester) as server:
        client = await server.connect()
        good = counted("/direct", b"good") + counted("/events", b"fine")
        await client.send(good + b"nonsense\r\n\r\n" + good)
        assert (await client.answer()).body == digest(b"good")
        assert (await client.answer()).body == digest(b"fine")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def test_a_bad_body_behind_good_requests() -> None:
    """The same when it is the body that is malformed: its request is refused in its turn."""
    async with served(digester) as server:
        client = await server.connect()
        bad = head("/direct", "Transfer-Encoding: chunked") + b"3\r\nabcd\r\n"
        await client.send(counted("/direct", b"good") + bad + counted("/direct", b"good"))
        assert (await client.answer()).body == digest(b"good")
        assert (await client.answer()).status == 400
        assert await client.rest() == b""


async def test_a_body_that_is_bad_after_its_answer() -> None:
    """The connection ends without a further answer."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no", 404)

    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/", "Transfer-Encoding: chunked"))
        assert (await client.answer()).status == 404
        await client.send(b"3\r\nabcd\r\n" + head("/"))
        assert await client.rest() == b""


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
async def test_http_1_0_with_a_body(expect: str) -> None:
    """It is read, no 100 is sent (RFC 9110 section 10.1.1), and the connection ends."""
    async with served(digester) as server:
        client = await server.connect()
        lines = f"POST /direct HTTP/1.0\r\nConnection: keep-alive\r\n{expect}Content-Length: 4\r\n"
        await client.send_apart(f"{lines}\r\n".encode(), b"body")
        final = await client.answer()
        assert (final.status, final.body) == (200, digest(b"body"))
        assert await client.rest() == b""


async def test_a_connection_that_is_shut_down_while_a_body_arrives() -> None:
    """A drain: the request is answered, then the connection ends."""
    async with served(digester) as server:
        client = await server.connect()
        await client.send_apart(head("/direct", f"Content-Length: {len(CONTENT)}"), CONTENT[:100])
        end_all(server)
        await client.send(CONTENT[100:])
        assert (await client.answer()).body == digest(CONTENT)
        assert await client.rest() == b""


def end_all(server: Served) -> None:
    """Do what uvicorn does when it stops."""
    for connection in list(server.state.connections):
        connection.shutdown()
