"""Who is in whose way at the tree: publishers that are held, and a word when somebody has to wait.

Nothing here depends on how fast anybody is: whoever is to wait is seen to be turned away by the
lock, and whoever is not comes to his end.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from storage.drivers import lock_files

T = TypeVar("T")

# Seconds after which a test fails that would hang.
PATIENCE = 20.0


class Turnstile:
    """Stands in for `fcntl` where the tree is locked, and knows who was turned away."""

    LOCK_SH = fcntl.LOCK_SH
    LOCK_EX = fcntl.LOCK_EX
    LOCK_NB = fcntl.LOCK_NB

    def __init__(self, told: Callable[[str, int], None] = lambda *_: None) -> None:
        self.away: set[tuple[str, int]] = set()
        self._told = told

    def flock(self, fd: int, operation: int) -> None:
        """Lock, and take note if that is not possible now."""
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
            kind = operation & ~fcntl.LOCK_NB
            self.away.add((name, kind))
            self._told(name, kind)
            raise

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have all drivers pass here from now on."""
        monkeypatch.setattr(lock_files, "fcntl", self)

    async def waits(self, task: asyncio.Future[Any], name: str, kind: int) -> bool:
        """Wait until a task was turned away from a lock; False if it came to its end instead."""
        while (name, kind) not in self.away:
            if task.done():
                return False
            await asyncio.sleep(0.001)
        return not task.done()


class Held:
    """A place at which a thread stays until it is released."""

    def __init__(self) -> None:
        self._inside = threading.Event()
        self._released = threading.Event()

    def stay(self) -> None:
        """Say that somebody is here, and stay; blocks."""
        self._inside.set()
        assert self._released.wait(PATIENCE), "nobody released it"

    def release(self) -> None:
        """Let whoever is here, or comes, go on."""
        self._released.set()

    @property
    def is_inside(self) -> bool:
        """Whether somebody came here."""
        return self._inside.is_set()

    async def entered(self, task: asyncio.Future[Any]) -> None:
        """Wait until somebody is here; raise what the task does that was to come."""
        while not self.is_inside:
            if task.done():
                task.result()
                raise AssertionError("it came to its end without being held")
            await asyncio.sleep(0.001)


def hold_call(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> Held:
    """Hold the next call of a function of `os` for a path that ends so, before it is made."""
    held, real = Held(), getattr(os, name)

    def call(*arguments: Any, **more: Any) -> Any:
        if not held.is_inside and any(str(one).endswith(path) for one in arguments):
            held.stay()
        return real(*arguments, **more)

    monkeypatch.setattr(os, name, call)
    return held
