"""An application that is exchanged while it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.http.reloadable import AppAndJobs, Reloadable


class World:
    """What a `Reloadable` is made of: applications that wait to be let go, and jobs."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_end = asyncio.Event()
        self.app = Reloadable(self.make, named("one"), self.close)

    def make(self, settings: Settings) -> AppAndJobs:
        """Answer every path with the name of the settings, `/slow` when it is let go."""
        name = settings.http.prefix.strip("/")

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/slow":
                self.happened.append(f"{name} was asked")
                await self.may_answer.wait()
            await PlainTextResponse(name)(scope, receive, send)

        async def job() -> None:
            self.happened.append(f"{name} began")
            try:
                await asyncio.Event().wait()
            finally:
                await self.may_end.wait()
                self.happened.append(f"{name} ended")

        return AppAndJobs(answer, (job,))

    async def close(self) -> None:
        """Note that the driver would be closed."""
        self.happened.append("closed")

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[httpx.AsyncClient]:
        """Run the lifespan around the block."""
        inbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        outbox: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        await inbox.put({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "state": {}}
        task = asyncio.ensure_future(self.app(scope, inbox.get, outbox.put))  # type: ignore[arg-type]
        assert (await outbox.get())["type"] == "lifespan.startup.complete"
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
            yield client
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await task


def named(name: str) -> Settings:
    """Return settings that can be told from others."""
    return validated(Settings, {"http": {"prefix": f"/{name}/"}})


async def run_ready_tasks() -> None:
    """Let every task run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_request_ends_by_the_settings_it_began_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The next one sees the new ones; the log says when the last from before has ended."""
    world = World()
    world.may_end.set()
    async with world.alive() as client:
        with caplog.at_level(logging.INFO):
            slow = asyncio.ensure_future(client.get("/slow"))
            await run_ready_tasks()
            assert "one was asked" in world.happened
            await world.app.apply(named("two"))
            assert (await client.get("/")).text == "two"
            await run_ready_tasks()
            assert "has ended" not in caplog.text
            world.may_answer.set()
            assert (await slow).text == "one"
            await run_ready_tasks()
            assert caplog.text.count("every request that began before the reload has ended") == 1


async def test_background_jobs_start_when_the_previous_ones_have_ended() -> None:
    """Never do two of the same go on at once; requests need not wait for that."""
    world = World()
    async with world.alive() as client:
        change = asyncio.ensure_future(world.app.apply(named("two")))
        await run_ready_tasks()
        assert world.happened == ["one began"]
        assert (await client.get("/")).text == "two"
        world.may_end.set()
        await change
        await run_ready_tasks()
        assert world.happened == ["one began", "one ended", "two began"]
    assert world.happened == ["one began", "one ended", "two began", "two ended", "closed"]


async def test_the_end_waits_for_requests_from_before_the_reload() -> None:
    """What is below them is closed after the last of them, however old it is."""
    world = World()
    world.may_end.set()
    async with world.alive() as client:
        slow = asyncio.ensure_future(client.get("/slow"))
        await run_ready_tasks()
        await world.app.apply(named("two"))
        await world.app.apply(named("three"))

        async def let_go() -> None:
            await run_ready_tasks()
            assert "closed" not in world.happened
            world.may_answer.set()

        helper = asyncio.ensure_future(let_go())
    await helper
    assert (await slow).text == "one"
    assert world.happened[-1] == "closed"
