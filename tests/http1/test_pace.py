"""Bodies below the pace are refused; steady clients and delays of the server are not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.http.extensions import SET_PACE, Pace
from registry_server.serving.http1.connection import Connection
from registry_server.serving.http1.framing import LengthFraming
from registry_server.serving.http1.pace import DEFAULT, BodyWatch
from tests.http1.serving import Client, Served, answer, batches, served, until
from tests.http1.test_connection import CONTENT, Reader, body_of, counted, digest, digester, head

pytestmark = pytest.mark.slow

FAST = Pace(least=10, within=0.4)
FRAMINGS = ["Content-Length: 300000", "Transfer-Encoding: chunked"]
PATHS = ["/direct", "/events"]


class Paced:
    """Requires a pace of an application's request bodies, as `limits.bodies` does."""

    def __init__(self, app: ASGIApp, pace: Pace = FAST) -> None:
        self._app = app
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if SET_PACE in scope:
            scope[SET_PACE](self._pace)
        await self._app(scope, receive, send)


async def drip(client: Client, framing: str) -> None:
    """Send a byte now and then, until the connection is closed."""
    byte = b"1\r\nx\r\n" if "chunked" in framing else b"x"
    for _ in range(200):
        try:
            await client.send(byte)
        except OSError:
            return
        await asyncio.sleep(0.1)


def framed(content: bytes, framing: str) -> bytes:
    """Return content framed as a part of a body."""
    return b"%x\r\n%b\r\n" % (len(content), content) if "chunked" in framing else content


async def watch_of(server: Served) -> BodyWatch:
    """Return the watch of the only connection, once a body has begun."""
    await until(lambda: server.state.connections, "it is accepted")
    (found,) = server.state.connections
    assert isinstance(found, Connection)
    await until(lambda: found._framing is not None, "a body has begun")
    return found._watch


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("drips", [True, False])
async def test_a_body_that_drips_is_refused(path: str, framing: str, drips: bool) -> None:
    """408 and the end, for few bytes or none; the bytes that arrived are kept."""
    reader = Reader()
    content = CONTENT[:50_000]
    async with served(Paced(reader)) as server:
        client = await server.connect()
        await client.send(head(path, framing) + framed(content, framing))
        dripping = asyncio.create_task(drip(client, framing)) if drips else None
        refused = await client.answer()
        assert refused.status == 408
        assert "too slowly" in json.loads(refused.body)["errors"][0]["message"]
        assert await client.rest() == b""
        await until(lambda: reader.broke_off is not None, "the handler learns it")
        if dripping is not None:
            assert not dripping.done(), "the client gave up first"
            await dripping
    assert reader.broke_off
    if path == "/direct":
        assert reader.found.startswith(content)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_slow_client_that_keeps_its_pace_is_not_cut_off(path: str, framing: str) -> None:
    """Just enough in each span, for several of them; and a body of less than that."""
    pieces = [bytes([number]) * 2 for number in range(40)]
    lines = framing.replace("300000", "80")
    async with served(Paced(digester)) as server:
        client = await server.connect()
        await client.send(head(path, lines))
        for piece in pieces:
            await client.send(framed(piece, framing))
            await asyncio.sleep(0.04)
        if "chunked" in framing:
            await client.send(b"0\r\n\r\n")
        assert (await client.answer()).body == digest(b"".join(pieces))
        await client.send_apart(counted(path, b"abc")[:-1], b"c")
        assert (await client.answer()).body == digest(b"abc")


@pytest.mark.parametrize("path", PATHS)
async def test_the_second_body_of_a_connection_is_held_to_its_pace(path: str) -> None:
    """Between the bodies, and before the first, no client is refused."""
    async with served(Paced(digester)) as server:
        client = await server.connect()
        await client.send(counted(path, b"some"))
        assert (await client.answer()).status == 200
        await asyncio.sleep(2 * FAST.within)
        await client.send(counted(path, b"more") + head(path))
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]
        await client.send(head(path, FRAMINGS[0]))
        assert (await client.answer()).status == 408
        assert await client.rest() == b""


@pytest.mark.parametrize("path", PATHS)
async def test_a_server_that_does_not_read_refuses_no_client(path: str) -> None:
    """A disk that is slow: the client can't send for several spans, and continues afterwards."""
    slow = asyncio.Event()
    content = bytes(64 << 20)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found = bytearray()
        async for data in body_of(scope, receive):
            await slow.wait()
            found += data
        await answer(send, digest(bytes(found)))

    async with served(Paced(app)) as server:
        client = await server.connect()
        sent = counted(path, content)
        done = await client.send_while_taken(sent, 3 * FAST.within)
        assert done < len(sent)
        slow.set()
        await client.send(sent[done:])
        assert (await client.answer()).body == digest(content)


@pytest.mark.parametrize("path", PATHS)
async def test_the_pace_is_measured_from_100_continue(path: str) -> None:
    """`Expect: 100-continue`: the time begins when the interim answer is sent."""
    asked = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await digester(scope, receive, send)

    async with served(Paced(app)) as server:
        for body in (b"body", b""):
            client = await server.connect()
            await client.send(head(path, "Expect: 100-continue", "Content-Length: 4"))
            if not asked.is_set():
                await asyncio.sleep(2 * FAST.within)
                asked.set()
            assert (await client.answer()).status == 100
            await client.send(body)
            assert (await client.answer()).status == (200 if body else 408)


async def test_time_behind_an_earlier_request_does_not_count() -> None:
    """Nothing of its body is read meanwhile."""
    go_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await go_on.wait()
        await digester(scope, receive, send)

    async with served(Paced(app)) as server:
        client = await server.connect()
        await client.send(head("/first") + head("/direct", "Content-Length: 4") + b"bo")
        await asyncio.sleep(3 * FAST.within)
        go_on.set()
        await client.send(b"dy")
        assert [(await client.answer()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("begun", [True, False])
async def test_a_discarded_body_must_keep_the_pace_too(framing: str, begun: bool) -> None:
    """The early answer was sent, so the connection just ends."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await anext(batches(scope))
        await answer(send, b"no", 413)

    async with served(Paced(app)) as server:
        client = await server.connect()
        lines = framing.replace("300000", "3000000")
        await client.send(head("/", lines) + framed(bytes(700_000), framing))
        assert (await client.answer()).status == 413
        dripping = asyncio.create_task(drip(client, framing))
        assert await client.rest() == b""
        assert not dripping.done(), "the client gave up first"
        await dripping


@pytest.mark.parametrize("path", PATHS)
async def test_a_pace_of_zero_turns_the_limit_off(path: str) -> None:
    """If it is switched off, a client may take any time."""
    async with served(Paced(digester, Pace(0, 0.2))) as server:
        client = await server.connect()
        await client.send(head(path, "Content-Length: 4"))
        await asyncio.sleep(0.7)
        await client.send(b"body")
        assert (await client.answer()).body == digest(b"body")


async def test_it_is_on_by_default() -> None:
    """Unconfigured, each body must keep the default pace; a connection has one timer."""
    async with served(digester) as server:
        client = await server.connect()
        await client.send(head("/direct", FRAMINGS[0]) + b"some")
        watched = await watch_of(server)
        await until(lambda: watched._timer is not None, "it is watched")
        assert watched._pace == DEFAULT == Pace(1024, 60.0)


class Time:
    """A loop's clock, and its one timer, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        """Return what it is."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Time:
        """Call it when it is time."""
        assert self._due is None, "one timer is enough"
        self._due = when, callback
        return self

    def cancel(self) -> None:
        """Forget what was to be called."""
        self._due = None

    def pass_(self, seconds: float, *, busy: bool = False) -> None:
        """Let time pass; a busy loop runs no callback before it is over."""
        end = self.now + seconds
        while self._due is not None and self._due[0] <= end:
            when, callback = self._due
            self._due = None
            self.now = end if busy else max(self.now, when)
            callback()
        self.now = end


class Transport(asyncio.Transport):
    """A transport that can pause and resume."""

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class Watched:
    """A watched body, and the times at which it was refused."""

    def __init__(self) -> None:
        self.time = Time()
        self.refused: list[float] = []
        self.framing = LengthFraming(1 << 40)
        loop = cast("asyncio.AbstractEventLoop", self.time)
        watch = BodyWatch(loop, lambda: self.refused.append(self.time.now))
        self.flow = watch.flow(Transport())
        watch.begin(self.framing, Pace(100, 60))

    def arrive(self, size: int) -> None:
        """Have bytes arrive."""
        self.framing.take(memoryview(bytes(size)))


def test_a_loop_that_was_busy_refuses_no_client() -> None:
    """What the client sent meanwhile waits in the kernel."""
    one = Watched()
    one.time.pass_(200, busy=True)
    assert not one.refused
    one.time.pass_(59)
    assert not one.refused
    one.time.pass_(2)
    assert one.refused


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "pause", "resume"]),
        st.sampled_from([0, 1, 50, 99, 100, 5000]),
        st.sampled_from([0.0, 0.5, 10.0, 29.0, 30.0, 59.0, 60.0, 61.0, 130.0]),
    ),
    max_size=12,
)


@given(STEPS)
def test_a_refused_client_was_waited_for_and_sent_too_little(
    steps: list[tuple[str, int, float]],
) -> None:
    """Before each refusal lies a span without a pause in which fewer bytes came than should.

    A client that sends nothing for two spans in which it could is refused.
    """
    one, arrived, reading_since, quiet_since = Watched(), [], 1000.0, 1000.0
    for what, size, seconds in steps:
        if what == "pause":
            one.flow.pause_reading()
        elif what == "resume":
            if one.flow.read_paused:
                reading_since = quiet_since = one.time.now
            one.flow.resume_reading()
        elif not one.flow.read_paused:
            one.arrive(size)
            arrived.append((one.time.now, size))
            quiet_since = one.time.now if size else quiet_since
        one.time.pass_(seconds)
        if one.refused:
            at = one.refused[0]
            assert not one.flow.read_paused
            assert at - reading_since >= 60
            assert sum(size for when, size in arrived if at - 60 < when <= at) < 100
            return
        assert one.flow.read_paused or one.time.now - quiet_since < 120
