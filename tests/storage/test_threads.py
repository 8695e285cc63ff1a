"""Tests of the worker threads of a driver."""

from __future__ import annotations

import _thread
import asyncio
import fcntl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from storage.concurrency.threads import Threads
from storage.drivers.filesystem.driver import FilesystemDriver, make_ready
from storage.values import paths


async def test_calls_after_the_start_need_no_new_thread() -> None:
    """The first threads run before the first call."""
    threads, loop = Threads(4), asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as helper:
        await loop.run_in_executor(helper, threads.start)
        before = _thread._count()
        assert await threads.run(threading.get_ident) != threading.get_ident()
        assert _thread._count() == before
        await loop.run_in_executor(helper, threads.shutdown)
        # The interpreter counts a thread until shortly after its last call.
        while _thread._count() > before - 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_another_thread_is_started_when_all_are_busy() -> None:
    """Up to the limit; further calls wait."""
    threads, meet = Threads(3), threading.Barrier(3)
    places = await asyncio.gather(*(threads.run(meet.wait, 20) for _ in range(6)))
    assert sorted(places) == [0, 0, 1, 1, 2, 2]
    await asyncio.to_thread(threads.shutdown)


async def test_existing_threads_do_everything_if_no_more_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Callers do not see the system's refusal."""
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
    """Results and exceptions are passed on, and so are keyword arguments."""
    threads, loop = Threads(2), asyncio.get_running_loop()
    assert await loop.run_in_executor(threads, int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        await loop.run_in_executor(threads, int, "x")
    assert await asyncio.wrap_future(threads.submit(int, "11", base=2)) == 3
    await asyncio.to_thread(threads.shutdown)


async def test_it_can_be_used_after_a_shutdown() -> None:
    """Earlier calls are completed; new threads are started for later ones."""
    threads = Threads(2)
    asked = [threads.run(lambda n=n: n) for n in range(5)]
    await asyncio.to_thread(threads.shutdown)
    assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
    await asyncio.to_thread(threads.shutdown)
    assert await asyncio.wait_for(threads.run(lambda: 1), 20) == 1
    await asyncio.to_thread(threads.shutdown)


def test_a_lock_that_is_held_for_long_blocks_no_reader(tmp_path: Path) -> None:
    """More changes wait for it than there are threads; all are made when it is released."""
    make_ready(tmp_path)
    with (tmp_path / paths.GATE).open("rb") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        release = partial(fcntl.flock, gate, fcntl.LOCK_UN)
        asyncio.run(_read_beside_changes(FilesystemDriver(tmp_path, threads=4), release))


async def _read_beside_changes(driver: FilesystemDriver, release: Callable[[], object]) -> None:
    names = [f"docker/{number}" for number in range(10)]
    writing = [asyncio.ensure_future(driver.write(name, b"x")) for name in names]
    await asyncio.sleep(0.1)
    assert await asyncio.wait_for(driver.batch(lambda reader: reader.names("docker")), 20) == []
    assert not any(each.done() for each in writing)
    release()
    await asyncio.gather(*writing)
    assert set(await driver.batch(lambda reader: reader.names("docker"))) == set("0123456789")
    await driver.close()


async def test_a_change_that_is_cancelled_before_its_turn_is_not_made() -> None:
    """The calls behind it are executed."""
    threads, released = Threads(4), threading.Event()
    done: list[str] = []
    waiting = [threads.run_locking(released.wait, 20) for _ in range(3)]
    given_up, behind = (threads.run_locking(done.append, each) for each in "12")
    given_up.cancel()
    assert await threads.run(int, "7") == 7
    released.set()
    assert await asyncio.gather(*waiting) == [True, True, True]
    await behind
    assert done == ["2"]
    await asyncio.to_thread(threads.shutdown)
