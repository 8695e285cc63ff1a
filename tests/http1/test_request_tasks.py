"""Each request runs in its own task and context, after the one before on its connection."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
from starlette.types import Receive, Scope, Send

from tests.http1.serving import answer, served, until
from tests.http1.test_connection import head

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Application:
    """Answers with the value of VARIABLE and sets it; records tasks, beginnings and ends."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None] | None] = []
        self.events: list[str] = []
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait before the answer at `/waits`, and after it at `/lingers`."""
        path: str = scope["path"]
        self.tasks.append(asyncio.current_task())
        self.events.append(f"{path} began")
        value = VARIABLE.get()
        VARIABLE.set(path)
        try:
            if path == "/waits":
                await asyncio.sleep(0.001)
            if path == "/waits-long":
                await self.gate.wait()
            await answer(send, value.encode())
            if path == "/lingers":
                await self.gate.wait()
            assert (asyncio.current_task(), VARIABLE.get()) == (self.tasks[-1], path)
        finally:
            self.events.append(f"{path} ended")


@pytest.mark.parametrize("path", ["/", "/waits"])
async def test_a_request_does_not_see_variables_of_the_one_before(path: str) -> None:
    """On one keep-alive connection, whether the application waits or not."""
    app = Application()
    async with served(app) as server:
        client = await server.connect()
        for _ in range(3):
            await client.send(head(path))
            assert (await client.answer()).body == b"unset"
    assert len(set(app.tasks)) == 3
    assert VARIABLE.get() == "unset"


@pytest.mark.parametrize("path", ["/", "/waits"])
async def test_a_pipelined_request_does_not_see_them_either(path: str) -> None:
    """It is started from the task of the request before."""
    async with served(Application()) as server:
        client = await server.connect()
        await client.send(head(path) * 3)
        for _ in range(3):
            assert (await client.answer()).body == b"unset"


async def test_a_request_starts_after_the_application_returned_from_the_one_before() -> None:
    """An application may release a lock after it has sent the response."""
    app = Application()
    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/lingers"))
        await client.answer()
        await client.send(head("/next"))
        await asyncio.sleep(0.05)
        assert app.events == ["/lingers began"]
        app.gate.set()
        await client.answer()
    assert app.events == ["/lingers began", "/lingers ended", "/next began", "/next ended"]


async def test_a_timeout_of_asyncio_works_in_a_request() -> None:
    """`asyncio.timeout` cancels the task that entered it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            await answer(send, b"timed out")

    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/"))
        assert (await client.answer()).body == b"timed out"


async def test_a_cancelled_task_cancels_its_request() -> None:
    """The server cancels the tasks that outlast a drain."""
    app = Application()
    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/waits-long"))
        await until(lambda: app.events, "the request has begun")
        (task,) = server.state.tasks
        task.cancel()
        await until(lambda: len(app.events) == 2, "the request has ended")
        await client.rest()


async def test_a_request_is_finished_though_its_client_has_left() -> None:
    """It may hold a lock, so the application must return; the server waits for its task."""
    app = Application()
    async with served(app) as server:
        client = await server.connect()
        await client.send(head("/waits-long"))
        await until(lambda: app.events, "the request has begun")
        client.close()
        await until(lambda: not server.state.connections, "the connection has ended")
        assert len(server.state.tasks) == 1
        app.gate.set()
        await until(lambda: not server.state.tasks, "the task has ended")
    assert app.events == ["/waits-long began", "/waits-long ended"]
