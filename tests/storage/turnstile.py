"""Tests of blocking at the tree lock: publishers that are held, and waiters that are detected.

Nothing here depends on speed: a process that has to wait is seen to be refused by the lock, and
a process that need not wait is seen to finish.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from storage.drivers.filesystem import lock_files

T = TypeVar("T")

# Seconds after which a test fails that would hang.
PATIENCE = 20.0


class Turnstile:
    """Replaces `fcntl` where the tree is locked, and records which tasks were refused."""

    LOCK_SH = fcntl.LOCK_SH
    LOCK_EX = fcntl.LOCK_EX
    LOCK_NB = fcntl.LOCK_NB

    def __init__(self, told: Callable[[str, int], None] = lambda *_: None) -> None:
        self.away: set[tuple[str, int]] = set()
        self._told = told

    def flock(self, fd: int, operation: int) -> None:
        """Lock, and record a refusal."""
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            name = os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))
            kind = operation & ~fcntl.LOCK_NB
            self.away.add((name, kind))
            self._told(name, kind)
            raise

    def put(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace `fcntl` for all drivers from now on."""
        monkeypatch.setattr(lock_files, "fcntl", self)

    async def waits(self, task: asyncio.Future[Any], name: str, kind: int) -> bool:
        """Wait until a task was refused a lock; return False if it finished instead."""
        while (name, kind) not in self.away:
            if task.done():
                return False
            await asyncio.sleep(0.001)
        return not task.done()


class PausePoint:
    """A point at which a thread stays until it is released."""

    def __init__(self) -> None:
        self._inside = threading.Event()
        self._released = threading.Event()

    def stay(self) -> None:
        """Record that a thread is here, and stay; blocks."""
        self._inside.set()
        assert self._released.wait(PATIENCE), "it was not released"

    def release(self) -> None:
        """Release the threads that are here, and those that come later."""
        self._released.set()

    @property
    def is_inside(self) -> bool:
        """Whether a thread has come here."""
        return self._inside.is_set()

    async def entered(self, task: asyncio.Future[Any]) -> None:
        """Wait until a thread is here; raise the error of the task that was to come."""
        while not self.is_inside:
            if task.done():
                task.result()
                raise AssertionError("it came to its end without being held")
            await asyncio.sleep(0.001)


def hold_call(monkeypatch: pytest.MonkeyPatch, name: str, path: str) -> PausePoint:
    """Hold the next call of a function of `os` for a path with this end, before it is made."""
    held, real = PausePoint(), getattr(os, name)

    def call(*arguments: Any, **more: Any) -> Any:
        if not held.is_inside and any(str(one).endswith(path) for one in arguments):
            held.stay()
        return real(*arguments, **more)

    monkeypatch.setattr(os, name, call)
    return held
