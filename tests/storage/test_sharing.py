"""Callers with equal keys share work that has not started, and never work that has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.concurrency.sharing import Abandoned, Run, SharedRuns
from tests.storage.examples import SOME


class Work:
    """Work that reports when it started, and continues when it is released."""

    def __init__(self) -> None:
        self.begun = 0
        self.abandoned = 0
        self.may_end = asyncio.Semaphore(0)
        self.now = 0  # what the work reads

    async def __call__(self, run: Run[int]) -> int:
        """Read first, as a running scan has."""
        self.begun += 1
        found = self.now
        await self.may_end.acquire()
        try:
            run.check()
        except Abandoned:
            self.abandoned += 1
            raise
        return found


async def _turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _task(work: Coroutine[object, object, int]) -> asyncio.Task[int]:
    return asyncio.ensure_future(work)


async def test_a_hundred_callers_need_two_runs() -> None:
    """The running one, and one for all that came meanwhile."""
    runs, work = SharedRuns[str, int](), Work()
    first = _task(runs.result("a", work))
    await _turns()
    others = [_task(runs.result("a", work)) for _ in range(99)]
    await _turns()
    assert work.begun == 1
    work.may_end.release()
    await first
    await _turns()
    work.may_end.release()
    await asyncio.gather(*others)
    assert work.begun == 2
    assert not runs._waiting
    assert not runs._active


async def test_a_run_that_started_before_serves_no_later_caller() -> None:
    """A caller that comes after a write gets a result that was read after it came."""
    runs, work = SharedRuns[str, int](), Work()
    early = _task(runs.result("a", work))
    await _turns()
    work.now = 1
    late = _task(runs.result("a", work))
    work.may_end.release()
    work.may_end.release()
    assert (await early, await late) == (0, 1)


@pytest.mark.parametrize("keys", [["a", "b"], [("a", 1), ("a", 2)]])
async def test_other_keys_wait_for_nothing(keys: list[object]) -> None:
    """Each key has runs of its own."""
    runs, work = SharedRuns[object, int](), Work()
    tasks = [_task(runs.result(key, work)) for key in keys]
    await _turns()
    assert work.begun == 2
    for _ in tasks:
        work.may_end.release()
    await asyncio.gather(*tasks)


async def test_work_ends_when_the_last_caller_leaves() -> None:
    """While one of three callers waits it continues; after all left, the next restarts it."""
    runs, work = SharedRuns[str, int](), Work()
    tasks = [_task(runs.result("a", work)) for _ in range(3)]
    await _turns()
    for task in tasks[:2]:
        task.cancel()
    await _turns()
    assert not tasks[2].done()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    again = _task(runs.result("a", work))
    await _turns()
    assert (work.begun, work.abandoned) == (1, 0)
    work.may_end.release()
    work.may_end.release()
    assert await again == 0
    assert (work.begun, work.abandoned) == (2, 1)


async def test_work_that_no_caller_waits_for_does_not_start() -> None:
    """All callers of a run left before its turn: it is not executed."""
    runs, work = SharedRuns[str, int](), Work()
    first = _task(runs.result("a", work))
    await _turns()
    second = _task(runs.result("a", work))
    await _turns()
    second.cancel()
    work.may_end.release()
    await first
    await _turns()
    assert work.begun == 1
    assert not runs._waiting
    assert not runs._active


async def test_an_error_is_every_caller_s() -> None:
    """And the next caller gets a new run."""
    runs = SharedRuns[str, int]()

    async def fail(run: Run[int]) -> int:
        raise OSError("no disk")

    async def succeed(run: Run[int]) -> int:
        return 1

    failed = await asyncio.gather(
        *(runs.result("a", fail) for _ in range(3)), return_exceptions=True
    )
    assert [str(one) for one in failed] == ["no disk"] * 3
    assert await runs.result("a", succeed) == 1


async def test_a_thread_sees_that_its_callers_left() -> None:
    """The check is made where the work is done."""
    runs = SharedRuns[str, int]()
    begun, left, seen = threading.Event(), threading.Event(), threading.Event()

    def work(run: Run[int]) -> int:
        run.check()
        begun.set()
        left.wait(10)
        try:
            run.check()
        except Abandoned:
            seen.set()
        return 1

    task = _task(runs.result("a", lambda run: asyncio.to_thread(work, run)))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    left.set()
    assert await asyncio.to_thread(seen.wait, 10)


@SOME
@given(steps=st.lists(st.sampled_from(["ask", "write", "leave", "turn", "end"]), max_size=40))
async def test_no_caller_gets_what_was_read_before_it_asked(steps: list[str]) -> None:
    """In whatever order callers come and leave, and at most one run reads at a time."""
    runs, work = SharedRuns[str, int](), Work()
    asked: list[tuple[asyncio.Task[int], int]] = []
    for step in steps:
        if step == "ask":
            asked.append((_task(runs.result("a", work)), work.now))
        elif step == "write":
            work.now += 1
        elif step == "leave" and asked:
            asked.pop(0)[0].cancel()
        elif step == "turn":
            await _turns()
        else:
            work.may_end.release()
        assert len(runs._active) <= 1
    for _ in range(len(asked) + 2):
        work.may_end.release()
    for task, now in asked:
        assert await asyncio.wait_for(task, 10) >= now
