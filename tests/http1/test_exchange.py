"""Answers as they are sent: whole, in parts, from a file; and applications that send none."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry_server.serving.http1.answer_heads import cached_answer_head
from tests.http1.serving import ZERO_COPY, Client, answer, served, until

pytestmark = pytest.mark.disk

MIB = 1 << 20
CONTENT = random.Random(2).randbytes(9 * MIB + 7)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"


def start(length: int | None, status: int = 200) -> Message:
    """Begin an answer of so many bytes."""
    headers = [] if length is None else [(b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(body: bytes, *, more: bool = False) -> Message:
    """Make a part of an answer."""
    return {"type": "http.response.body", "body": body, "more_body": more}


def saying(*messages: Message) -> ASGIApp:
    """Return an application that sends these messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(dict(message))

    return app


@pytest.fixture
def file(tmp_path: Path) -> Iterator[IO[bytes]]:
    """Give an open file with a lot in it."""
    (tmp_path / "file").write_bytes(CONTENT)
    with (tmp_path / "file").open("r+b") as opened:
        yield opened


def of_file(file: IO[bytes], offset: int, count: int, *, more: bool = False) -> Message:
    """Make a part of an answer out of a part of a file."""
    return {
        "type": ZERO_COPY,
        "file": file,
        "offset": offset,
        "count": count,
        "more_body": more,
    }


def sending(file: IO[bytes], *parts: tuple[int, int]) -> ASGIApp:
    """Return an application that answers with parts of a file, each with a dash in front."""
    messages = [start(sum(1 + count for _, count in parts))]
    for number, (offset, count) in enumerate(parts, 1):
        messages.append(part(b"-", more=True))
        messages.append(of_file(file, offset, count, more=number < len(parts)))
    return saying(*messages)


async def test_parts_of_a_known_length() -> None:
    """They go out as they come, and the connection stays."""
    async with served(saying(start(6), part(b"ab", more=True), part(b"", more=True),
                             part(b"cd", more=True), part(b"ef"))) as server:  # fmt: skip
        client = await server.connect()
        await client.send(GET + HEAD + GET)
        for method, body in (("GET", b"abcdef"), ("HEAD", b""), ("GET", b"abcdef")):
            found = await client.answer(method)
            assert (found.header("Content-Length"), found.body) == ("6", body)


async def test_parts_of_an_unknown_length() -> None:
    """They go out in chunks, of which none is empty but the last."""
    messages = (start(None), part(b"abc", more=True), part(b"", more=True), part(b"d"))
    async with served(saying(*messages)) as server:
        client = await server.connect()
        await client.send(GET + HEAD + GET)
        for method in ("GET", "HEAD", "GET"):
            head = await client.head()
            if method == "HEAD":
                continue
            assert head.header("Transfer-Encoding") == "chunked"
            framed = b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
            assert await client.read(len(framed)) == framed


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_that_have_no_body(status: int) -> None:
    """Nothing follows their heads."""
    async with served(saying(start(None, status), part(b""))) as server:
        client = await server.connect()
        await client.send(GET + GET)
        assert (await client.answer()).status == status
        second = await client.answer()
        assert (second.status, second.headers["Transfer-Encoding"]) == (status, None)


async def _fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("as the test wants it")


async def _fails_late(scope: Scope, receive: Receive, send: Send) -> None:
    await send(start(6))
    raise ValueError("as the test wants it")


@pytest.mark.parametrize(
    "app",
    [
        _fails,
        _fails_late,
        saying(),
        saying(start(6)),
        saying(part(b"")),
        saying({"type": "http.response.start", "status": 200, "headers": [(b"x", b"a\r\nb: c")]}),
        saying(start(6), start(6)),
        saying(start(1), part(b"ab")),
        saying(start(6), {"type": "http.response.push"}),
    ],
)
async def test_an_application_that_fails_before_its_answer(app: ASGIApp) -> None:
    """The client gets the error in the envelope, and the connection ends."""
    async with served(app) as server:
        client = await server.connect()
        await client.send(GET + GET)
        found = await client.answer()
        assert (found.status, found.header("Connection")) == (500, "close")
        assert b'"errors"' in found.body
        assert await client.rest() == b""


@pytest.mark.parametrize(
    "messages",
    [
        [start(6), part(b"ab", more=True)],
        [start(6), part(b"ab", more=True), part(b"c")],
        [start(6), part(b"ab", more=True), part(b"cdefg")],
        [start(6), part(b"ab", more=True), start(6)],
    ],
)
async def test_an_application_that_fails_within_its_answer(messages: Sequence[Message]) -> None:
    """The answer is cut short, so that no client takes it for complete; the connection ends."""
    async with served(saying(*messages)) as server:
        client = await server.connect()
        await client.send(GET + GET)
        assert (await client.head()).header("Content-Length") == "6"
        assert len(await client.rest()) < 6


async def test_an_answer_that_is_complete_is_not_added_to() -> None:
    """Sending after the end raises in the application; the client receives nothing more."""
    async with served(saying(start(2), part(b"ok"), part(b"more"))) as server:
        client = await server.connect()
        await client.send(GET + GET)
        for _ in range(2):
            assert (await client.answer()).body == b"ok"


async def test_the_answer_to_a_long_request_is_not_remembered() -> None:
    """A redirect repeats the target: a thousand of them would be a hundred megabytes."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        target = (b"location", scope["raw_path"])
        await send({"type": "http.response.start", "status": 301, "headers": [target]})
        await send({"type": "http.response.body"})

    cached_answer_head.cache_clear()
    async with served(app) as server:
        for size in (100, 60_000):
            client = await server.connect()
            await client.send(GET.replace(b"/ ", b"/%b " % (b"a" * size), 1))
            assert (await client.head()).header("Location") == "/" + "a" * size
            assert cached_answer_head.cache_info().currsize == 1


async def test_receive_returns_a_disconnect_when_the_client_leaves() -> None:
    """`receive` brings the request once, then, whenever that is, the end."""
    received: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while received[-1:] != ["http.disconnect"]:
            received.append((await receive())["type"])

    async with served(app) as server:
        client = await server.connect()
        await client.send(GET)
        await until(lambda: received, "it is received")
        client.vanish()
        await until(lambda: len(received) == 2, "it receives the disconnect")
    assert received == ["http.request", "http.disconnect"]


async def test_receive_after_the_answer_returns_a_disconnect_immediately() -> None:
    """There is nothing more to come."""
    received: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"ok")
        received.append((await receive())["type"])

    async with served(app) as server:
        client = await server.connect()
        await client.send(GET)
        assert (await client.answer()).body == b"ok"
        await until(lambda: received, "it receives the disconnect")
    assert received == ["http.disconnect"]


@pytest.mark.parametrize(
    "parts",
    [
        [(0, len(CONTENT))],
        [(0, 0)],
        [(5, 1)],
        [(len(CONTENT) - 1, 1)],
        [(MIB - 1, 3 * MIB + 2)],
        [(0, 10), (0, 0), (5 * MIB, 2 * MIB), (7, 0)],
        [(at, 3) for at in range(40)],
        [(at * MIB, MIB) for at in range(8)],
    ],
)
async def test_parts_of_a_file(file: IO[bytes], parts: list[tuple[int, int]]) -> None:
    """Exactly these bytes, among others, in order, and the connection stays."""
    expected = b"".join(b"-" + CONTENT[at : at + count] for at, count in parts)
    async with served(sending(file, *parts)) as server:
        client = await server.connect()
        await client.send(GET * 3)
        for _ in range(3):
            assert (await client.answer()).body == expected
    assert file.tell() == 0


async def test_an_answer_of_nothing_from_a_file_arrives(file: IO[bytes]) -> None:
    """Its head is not held back for bytes that never come."""
    async with served(saying(start(0), of_file(file, 0, 0))) as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(GET)
            assert (await client.answer()).body == b""


async def test_answers_in_memory_and_from_a_file_by_turns(file: IO[bytes]) -> None:
    """A file sent past the transport waits for what the transport has still to write."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/file":
            await sending(file, (0, 300_000))(scope, receive, send)
        else:
            await answer(send, CONTENT[:700_000])

    async with served(app, send_buffer=4096) as server:
        client = await server.connect(receive_buffer=4096)
        await client.send((GET + GET.replace(b"/ ", b"/file ", 1)) * 6)
        await asyncio.sleep(0.1)
        for _ in range(6):
            assert (await client.answer()).body == CONTENT[:700_000]
            assert (await client.answer()).body == b"-" + CONTENT[:300_000]


async def test_parts_in_memory_and_from_a_file_by_turns(file: IO[bytes]) -> None:
    """Each behind the one before, to a client that makes room at any moment."""
    parts = [(CONTENT[at : at + 9000 + at], CONTENT[at : at + 700]) for at in range(300)]
    expected = b"".join(whole + part for whole, part in parts)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(len(expected)))
        for at, (whole, _) in enumerate(parts):
            await send(part(whole, more=True))
            await send(of_file(file, at, 700, more=at + 1 < len(parts)))

    async with served(app, send_buffer=4096) as server:
        found = await asyncio.to_thread(read_elsewhere, server.port, len(expected))
    assert found == expected


def read_elsewhere(port: int, size: int) -> bytes:
    """Read the body of an answer in this thread, a little at a time."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(GET)
        read, wanted = b"", size
        while len(read) < wanted and (more := connection.recv(3000)):
            read += more
            if wanted == size and b"\r\n\r\n" in read:
                wanted += read.index(b"\r\n\r\n") + 4
    return read.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("body", [1000, 40_000, 200_000])
async def test_a_client_that_leaves_while_a_file_waits_for_earlier_bytes(
    file: IO[bytes], caplog: pytest.LogCaptureFixture, body: int, reset: bool
) -> None:
    """However much of that the transport still has: the request ends, and nothing is logged."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(body + len(CONTENT)))
        await send(part(CONTENT[:body], more=True))
        await send(of_file(file, 0, len(CONTENT)))

    async with served(app, send_buffer=4096) as server:
        for taken in range(1, body, body // 10):
            client = await server.connect(receive_buffer=2048)
            await client.send(GET)
            await client.read(taken)
            await asyncio.sleep(0.02)
            client.vanish() if reset else client.close()
            await until(lambda: not server.state.tasks, "it ends")
    assert not caplog.records


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves_while_a_file_is_sent(
    file: IO[bytes], caplog: pytest.LogCaptureFixture, reset: bool
) -> None:
    """The request ends, and no descriptor of its socket stays open."""
    before = open_sockets()
    async with served(sending(file, (0, len(CONTENT)))) as server:
        for taken in (1, 100_000, len(CONTENT) // 2):
            client = await server.connect(receive_buffer=4096)
            await client.send(GET)
            await client.read(taken)
            client.vanish() if reset else client.close()
            await until(lambda: not server.state.tasks, "it ends")
            await until(lambda: not server.state.connections, "the connection ends")
    assert not caplog.records
    await until(lambda: open_sockets() <= before, "the descriptors are closed")


async def test_a_cancelled_file(file: IO[bytes]) -> None:
    """A drain that takes too long: the answer ends short, and its descriptor is closed."""
    before = open_sockets()
    async with served(sending(file, (0, len(CONTENT)))) as server:
        client = await server.connect(receive_buffer=4096)
        await client.send(GET)
        await client.read(1000)
        (task,) = server.state.tasks
        task.cancel()
        assert len(await client.rest()) < len(CONTENT)
    await until(lambda: open_sockets() <= before, "the descriptors are closed")


async def test_a_file_that_is_cut_while_it_is_sent(
    file: IO[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The answer is cut short with its connection, so that no client takes it for complete."""
    async with served(sending(file, (0, len(CONTENT)))) as server:
        client = await server.connect(receive_buffer=4096)
        await client.send(GET + GET)
        assert (await client.head()).header("Content-Length") == str(1 + len(CONTENT))
        file.truncate(6 * MIB)
        found = await client.rest()
        assert MIB < len(found) <= 1 + 6 * MIB
        assert (b"-" + CONTENT).startswith(found)
    assert "truncated" in caplog.text


async def test_slow_readers_of_files_delay_no_other_client(file: IO[bytes]) -> None:
    """A hundred that read next to nothing hold no thread, and another gets all of it."""
    async with served(sending(file, (0, len(CONTENT)))) as server:
        slow = [await server.connect(receive_buffer=2048) for _ in range(100)]
        for client in slow:
            await client.send(GET)
            assert await client.read(1)
        fast = await server.connect()
        await fast.send(GET * 3)
        for _ in range(3):
            assert (await fast.answer()).body == b"-" + CONTENT
        for client in slow[:3]:
            assert (await trickled(client))[-3:] == CONTENT[199_997:200_000]


async def trickled(client: Client) -> bytes:
    """Read a bit at a time, the head left out."""
    read = b""
    async for data in _bits(client, 201_000):
        read += data
    return read.partition(b"\r\n\r\n-")[2][:200_000]


async def _bits(client: Client, size: int) -> AsyncIterator[bytes]:
    for _ in range(50):
        yield await client.read(1)
    for _ in range(0, size, 5000):
        yield await client.read(5000)


async def test_a_file_to_a_client_that_reads_single_bytes(file: IO[bytes]) -> None:
    """However little it takes at a time, it gets each byte once, and the next answer after it."""
    async with served(sending(file, (3, 4000))) as server:
        client = await server.connect(receive_buffer=1)
        await client.send(GET + GET)
        read = b""
        while not read.endswith(b"\r\n\r\n-" + CONTENT[3:4003]):
            read += await client.read(1)
        assert (await client.answer()).body == b"-" + CONTENT[3:4003]


def open_sockets() -> int:
    """Return how many descriptors of sockets this process has."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own
            found += str(each.readlink()).startswith("socket:")
    return found
