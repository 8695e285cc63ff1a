"""Requests of one process that wait for the same lock share it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import pytest

from storage.repository.quotas.turn_queue import TurnQueue

_ASKED_BY = ContextVar("_ASKED_BY", default=-1)


class Door:
    """Turns that start once they may; `number` have started, and jobs record theirs."""

    def __init__(self) -> None:
        self.may_begin = asyncio.Event()
        self.number = 0
        self.inside = False
        self.error: Exception | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """Hold a turn."""
        await self.may_begin.wait()
        if self.error is not None:
            raise self.error
        assert not self.inside
        self.number += 1
        self.inside = True
        try:
            yield self.number
        finally:
            self.inside = False


async def _in_turn(number: int) -> int:
    await asyncio.sleep(0)
    return number


async def _waiting(queue: TurnQueue[int], number: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(queue.run(_in_turn)) for _ in range(number)]
    await asyncio.sleep(0)
    return tasks


async def test_all_jobs_that_wait_when_a_turn_starts_are_in_it() -> None:
    """A job that comes during the turn is in the next one."""
    door = Door()
    queue = TurnQueue(door.turn)
    later: list[asyncio.Task[int]] = []

    async def call_others(number: int) -> int:
        later.extend(await _waiting(queue, 3))
        return number

    tasks = [asyncio.create_task(queue.run(call_others)), *await _waiting(queue, 5)]
    door.may_begin.set()
    assert await asyncio.gather(*tasks) == [1] * 6
    assert await asyncio.gather(*later) == [2] * 3
    assert await queue.run(_in_turn) == 3


async def test_a_job_that_fails_hurts_no_other() -> None:
    """It alone raises."""
    door = Door()
    queue = TurnQueue(door.turn)

    async def fail(_: int) -> int:
        raise ValueError

    tasks = [*await _waiting(queue, 2), asyncio.create_task(queue.run(fail))]
    tasks += await _waiting(queue, 2)
    door.may_begin.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done.pop(2), ValueError)
    assert done == [1] * 4


async def test_a_turn_that_does_not_come_fails_all_that_wait_for_it() -> None:
    """Later requests try again."""
    door = Door()
    queue, door.error = TurnQueue(door.turn), TimeoutError("is held")
    tasks = await _waiting(queue, 3)
    door.may_begin.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in done] == [TimeoutError] * 3
    door.error = None
    assert await queue.run(_in_turn) == 1


async def test_a_job_that_timed_out_is_not_in_a_later_turn() -> None:
    """It times out even behind a turn of its own process; the job of that turn continues."""
    door, begun, go_on = Door(), asyncio.Event(), asyncio.Event()
    queue = TurnQueue(door.turn, patience=0.05)
    door.may_begin.set()

    async def job(number: int) -> int:
        begun.set()
        await go_on.wait()
        return number

    first = asyncio.create_task(queue.run(job))
    await begun.wait()
    (second,) = await _waiting(queue, 1)
    with pytest.raises(TimeoutError):
        await second
    assert not first.done()
    go_on.set()
    assert await first == 1
    assert door.number == 1


async def test_a_job_cancelled_before_the_turn_is_not_in_it() -> None:
    """It does not wait for the turn."""
    door, ran = Door(), False
    queue = TurnQueue(door.turn)

    async def job(_: int) -> None:
        nonlocal ran
        ran = True

    cancelled = asyncio.create_task(queue.run(job))
    (other,) = await _waiting(queue, 1)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    door.may_begin.set()
    assert await other == 1
    assert not ran


async def test_a_request_cancelled_in_the_turn_waits_for_the_end_of_its_job() -> None:
    """Nothing is left half done."""
    door = Door()
    queue = TurnQueue(door.turn)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def job(_: int) -> None:
        begun.set()
        await go_on.wait()

    door.may_begin.set()
    task = asyncio.create_task(queue.run(job))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_job_runs_in_the_context_of_its_request() -> None:
    """Its log lines have the right request id."""
    door = Door()
    queue = TurnQueue(door.turn)

    async def job(_: int) -> int:
        return _ASKED_BY.get()

    async def ask(number: int) -> int:
        _ASKED_BY.set(number)
        return await queue.run(job)

    tasks = [asyncio.create_task(ask(number)) for number in range(4)]
    await asyncio.sleep(0)
    door.may_begin.set()
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
