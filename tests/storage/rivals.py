"""A rival process that acts in the middle of some work, at each of its operations in turn.

The work runs below a symbolic link to the root, so its operations are known by their paths. Before
one of them the rival acts, to its end, or until a lock refuses it. Then the work continues, and the
rival takes the lock when it is released.

Operations are counted from the first one on a given path.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from storage.drivers.filesystem import locks
from storage.drivers.filesystem.driver import FilesystemDriver
from tests.storage.turnstile import PATIENCE, Turnstile

Act: TypeAlias = Callable[[FilesystemDriver], Awaitable[None]]

# Calls that change the tree, and calls that open a file of it: a lock, a link or bytes.
_OPERATIONS = ("open", "mkdir", "rename", "unlink", "rmdir", "utime")


class Rival:
    """Acts once, in its own thread, before operation number `at`."""

    def __init__(self, root: Path, act: Act) -> None:
        self._root = root
        self._act = act
        self._has_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.has_acted = False

    def act(self) -> None:
        """Begin; return when the rival is done or was refused a lock."""
        self.has_acted = True
        self._thread.start()
        assert self._has_stopped.wait(PATIENCE), "the rival neither ends nor waits for a lock"

    def turned_away(self, *_: object) -> None:
        """Record that the work holds a lock."""
        self._has_stopped.set()

    def end(self) -> None:
        """Wait for the end; raise its error."""
        if self.has_acted:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._with_driver())
        except BaseException as error:
            self._error = error
        finally:
            self._has_stopped.set()

    async def _with_driver(self) -> None:
        driver = FilesystemDriver(self._root, sync=False, threads=2)
        try:
            await self._act(driver)
        finally:
            await driver.close()


@contextmanager
def _acting(rival: Rival, root: str, since: str, at: int) -> Iterator[None]:
    """Let a rival act before operation number `at` below `root`; the first on `since` is 0."""
    numbers: list[int] = []
    real = {name: getattr(os, name) for name in _OPERATIONS}

    def watched(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            below = [str(one) for one in arguments[:2] if str(one).startswith(root)]
            if below and (numbers or f"{root}/{since}" in below):
                numbers.append(len(numbers))
                if numbers[-1] == at:
                    rival.act()
            return real[name](*arguments, **more)

        return call

    with pytest.MonkeyPatch.context() as patched:
        turnstile = Turnstile(rival.turned_away)
        turnstile.put(patched)
        patched.setattr(locks, "fcntl", turnstile)
        for name in _OPERATIONS:
            patched.setattr(os, name, watched(name))
        yield


async def rivalled(folder: Path, since: str, at: int, work: Act, act: Act) -> bool:
    """Do `work`, with a rival before operation number `at`; return False if it has fewer.

    The first operation on the path `since` is number 0. `folder` contains the root, called `root`.
    """
    alias = folder / "alias"
    await asyncio.to_thread(alias.symlink_to, "root")
    rival, driver = Rival(folder / "root", act), FilesystemDriver(alias, sync=False, threads=2)
    with _acting(rival, str(alias), since, at):
        try:
            await work(driver)
        finally:
            await driver.close()
            await asyncio.to_thread(rival.end)
    return rival.has_acted
