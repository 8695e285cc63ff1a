"""The worker threads of a driver."""

from __future__ import annotations

import _thread
import asyncio
import threading

import pytest

from storage.drivers.threads import Threads


async def test_what_is_asked_for_after_the_start_needs_no_new_thread() -> None:
    """The first threads run before anything is asked of them."""
    threads = Threads(4)
    await asyncio.to_thread(threads.start)
    before = _thread._count()
    assert await threads.run(threading.get_ident) != threading.get_ident()
    assert _thread._count() == before
    await asyncio.to_thread(threads.shutdown)
    assert _thread._count() == before - 4


async def test_another_thread_is_made_when_all_are_busy() -> None:
    """Up to the limit; what is one too many waits for its turn."""
    threads, meet = Threads(3), threading.Barrier(3)
    places = await asyncio.gather(*(threads.run(meet.wait, 20) for _ in range(6)))
    assert sorted(places) == [0, 0, 1, 1, 2, 2]
    await asyncio.to_thread(threads.shutdown)


async def test_where_no_more_threads_are_granted_those_there_are_do_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refusal of the system is not the caller's trouble."""
    threads = Threads(3)
    assert await threads.run(lambda: 1) == 1

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    assert await asyncio.gather(*(threads.run(lambda n=n: n) for n in range(5))) == [0, 1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="grants no thread"):
        Threads(3).start()
    monkeypatch.undo()
    await asyncio.to_thread(threads.shutdown)


async def test_it_is_an_executor() -> None:
    """Results and exceptions arrive, arguments by name too."""
    threads, loop = Threads(2), asyncio.get_running_loop()
    assert await loop.run_in_executor(threads, int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await loop.run_in_executor(threads, int, "x")
    assert await asyncio.wrap_future(threads.submit(int, "11", base=2)) == 3
    await asyncio.to_thread(threads.shutdown)


async def test_it_can_be_used_after_a_shutdown() -> None:
    """What was asked for before the end is done; new threads are made for what comes later."""
    threads = Threads(2)
    asked = [threads.run(lambda n=n: n) for n in range(5)]
    await asyncio.to_thread(threads.shutdown)
    assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
    await asyncio.to_thread(threads.shutdown)
    assert await asyncio.wait_for(threads.run(lambda: 1), 20) == 1
    await asyncio.to_thread(threads.shutdown)
