"""One task does all the work of a connection, and some of it at once."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections import deque
from collections.abc import AsyncIterator

import pytest

from registry_server.serving.http1.turns import Turns, Work

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Desk:
    """Work that waits to be taken, and what became of it."""

    def __init__(self) -> None:
        self.waiting: deque[Work] = deque()
        self.busy: set[asyncio.Task[None]] = set()
        self.done: list[object] = []
        self.done_at_once: list[object] = []
        self.happened = asyncio.Event()
        self.turns = Turns(asyncio.get_running_loop(), self._take, self.busy)

    def _take(self) -> Work | None:
        return self.waiting.popleft() if self.waiting else None

    async def arrive(self, *work: Work, alone: bool = True) -> None:
        """Have work arrive as it does from a socket: from the loop, not from a task."""
        arrived = asyncio.get_running_loop().create_future()

        def call() -> None:
            self.waiting.extend(work)
            self.turns.arrive(alone=alone)
            arrived.set_result(list(self.done))

        asyncio.get_running_loop().call_soon(call)
        self.done_at_once = await arrived

    async def settled(self) -> None:
        """Let everything happen that can."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def note(self, what: object) -> None:
        """Do work that waits for nothing."""
        self.done.append(what)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """Give a desk whose task has begun and is idle; end it."""
    made = Desk()
    await made.arrive(made.note("first"))
    await made.settled()
    assert (made.done, made.busy) == (["first"], set())
    made.done.clear()
    yield made
    made.turns.end()
    await made.settled()
    assert not made.busy


async def test_work_that_waits_for_nothing_is_done_at_once(desk: Desk) -> None:
    """Before `arrive` returns, and the server has nothing to wait for."""
    await desk.arrive(desk.note("now"))
    assert desk.done_at_once == ["now"]
    assert not desk.busy


async def test_work_in_company_waits_for_its_turn(desk: Desk) -> None:
    """A packet full of requests does not hold up the other connections."""
    await desk.arrive(desk.note("one"), desk.note("two"), alone=False)
    assert desk.done_at_once == []
    await desk.settled()
    assert desk.done == ["one", "two"]


async def test_it_is_one_task_with_one_context_throughout(desk: Desk) -> None:
    """Before and after it has to wait: `current_task`, context variables and timeouts agree."""

    async def work() -> None:
        before = asyncio.current_task()
        VARIABLE.set("set")
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)
        desk.done.append((before is asyncio.current_task(), VARIABLE.get()))
        desk.happened.set()

    await desk.arrive(work())
    assert len(desk.busy) == 1
    await desk.happened.wait()
    assert desk.done == [(True, "set")]
    assert VARIABLE.get() == "unset"


async def test_a_timeout_that_began_at_once_ends_it_later(desk: Desk) -> None:
    """Whoever is cancelled is the work, not the loop that callback ran in."""

    async def work() -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            desk.done.append("timed out")
            desk.happened.set()

    await desk.arrive(work())
    await desk.happened.wait()
    await desk.arrive(desk.note("next"))
    assert desk.done == ["timed out", "next"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cancelled_task_cancels_its_work(desk: Desk, at_once: bool) -> None:
    """In what it waits for, whether the task has taken it over already or not."""

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            desk.done.append("cancelled")

    await desk.arrive(work())
    if not at_once:
        await desk.settled()
    (task,) = desk.busy
    task.cancel()
    await desk.settled()
    assert desk.done == ["cancelled"]


async def test_what_has_begun_is_finished_though_the_connection_ends(desk: Desk) -> None:
    """It may hold a lock: its end must come, and the task's after it."""

    async def work() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            desk.done.append("tidied up")

    await desk.arrive(work())
    (task,) = desk.busy
    desk.turns.end()
    await desk.settled()
    assert desk.done == ["tidied up"]
    assert task.done()


async def test_a_failure_is_the_tasks_own(desk: Desk) -> None:
    """An exception thrown into what has begun elsewhere comes out of it."""
    gate = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await gate
        except ValueError as error:
            desk.done.append(str(error))
        await asyncio.sleep(0)
        desk.done.append("went on")

    await desk.arrive(work())
    gate.set_exception(ValueError("as it came"))
    await desk.settled()
    assert desk.done == ["as it came", "went on"]


class Refused(Exception):
    """What work may wait for in vain."""


async def _in_vain(raised: list[weakref.ref[Refused]], failing: list[asyncio.Future[None]]) -> None:
    try:
        await failing.pop()
    except Refused as error:
        raised.append(weakref.ref(error))


async def test_an_error_that_work_met_is_freed_with_the_work(desk: Desk, uncollected: None) -> None:
    """Not at the next collection of the interpreter, and not with the connection."""
    raised: list[weakref.ref[Refused]] = []
    failing = asyncio.get_running_loop().create_future()
    await desk.arrive(_in_vain(raised, [failing]))
    failing.set_exception(Refused())
    del failing
    await desk.settled()
    assert [error() for error in raised] == [None]
