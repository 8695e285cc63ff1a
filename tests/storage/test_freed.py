"""An error that crosses a future is freed by reference counting, without the garbage collector.

It refers to the frames that it passed. A frame that refers to the future keeps both in memory, with
everything in the other frames: for one refused manifest that was a hundred megabytes.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn, TypeAlias

import pytest

from storage.concurrency.cancellation import or_undone, to_completion
from storage.concurrency.sharing import SharedRuns
from storage.concurrency.threads import Threads
from storage.content.pipeline import pump
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.quotas.turn_queue import TurnQueue

Way: TypeAlias = Callable[[FilesystemDriver], Awaitable[object]]


class Refused(Exception):
    """The error that these tests raise."""


def _refuse(*_: object) -> NoReturn:
    raise Refused


async def _refuse_later(*_: object) -> NoReturn:
    await asyncio.sleep(0)
    raise Refused


async def _pieces() -> AsyncIterator[bytes]:
    for _ in range(5):
        yield bytes(1 << 20)


async def _through_an_executor(_: FilesystemDriver) -> None:
    threads = Threads(1)
    try:
        await asyncio.get_running_loop().run_in_executor(threads, _refuse)
    finally:
        await asyncio.to_thread(threads.shutdown)


async def _while_it_is_held(driver: FilesystemDriver) -> None:
    await driver.staging.create("uploads/1/data", {})
    async with driver.staging.open("uploads/1/data") as held:
        await pump(_pieces(), lambda piece: held.append(piece, _refuse))


@asynccontextmanager
async def _turn() -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def _no_turn() -> AsyncIterator[None]:
    _refuse()
    yield


WAYS: dict[str, Way] = {
    "a turn that is shared": lambda _: TurnQueue(_turn).run(_refuse_later),
    "a turn that does not come": lambda _: TurnQueue(_no_turn).run(_refuse_later),
    "a driver": lambda driver: driver.batch(_refuse),
    "an executor": _through_an_executor,
    "a run that is shared": lambda _: SharedRuns[int, None]().result(1, _refuse_later),
    "what is completed": lambda _: to_completion(_refuse_later()),
    "what may be undone": lambda _: or_undone(_refuse_later(), print),
    "a stream": lambda _: pump(_pieces(), _refuse_later),
    "an upload": _while_it_is_held,
}


@pytest.fixture
def files(tmp_path: Path) -> FilesystemDriver:
    """Return a driver, which the test closes."""
    return FilesystemDriver(tmp_path, threads=2)


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_is_freed(way: str, files: FilesystemDriver, uncollected: None) -> None:
    """As soon as its last handler has ended."""
    error = await _raised(WAYS[way](files))
    for _ in range(400):  # a thread drops its reference a moment after it has passed on the error
        if error() is None:
            break
        await asyncio.sleep(0.05)
    assert error() is None
    await files.close()


async def _raised(awaited: Awaitable[object]) -> weakref.ref[Refused]:
    try:
        await awaited
    except Refused as error:
        return weakref.ref(error)
    raise AssertionError("nothing was raised")
