"""A small file that an operator may change while the registry serves: users, rules, keys.

It is looked at when it is needed, once a second at most. An edit that can't be used changes
nothing, and the log says why once; nobody is locked out, nor let in, by a typing mistake.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")

logger = logging.getLogger(__name__)

PAUSE = 1.0  # seconds between two looks
_LARGEST = 16 << 20

# What tells one state of a file from another: inode, length, last change of content and of inode.
State: TypeAlias = tuple[int, int, int, int]


class Watched(Generic[T]):
    """What a file says, as `parse` reads it: a value, or a ValueError that says why not."""

    def __init__(self, path: Path, parse: Callable[[bytes], T], pause: float = PAUSE) -> None:
        """Read the file; raise OSError or ValueError when it can't be used (blocks).

        Between two looks at it are `pause` seconds at least.
        """
        self._path = path
        self._parse = parse
        self._pause = pause
        self._looking = threading.Lock()
        self._complaint = ""
        self._state = state_of(path)
        self._value = parse(read_small(path))
        self._looked = time.monotonic()

    async def now(self) -> T:
        """Return what the file says, or said before it could not be used any more."""
        if time.monotonic() - self._looked >= self._pause:
            self._looked = time.monotonic()
            await asyncio.to_thread(self._look_alone)
        return self._value

    def _look_alone(self) -> None:
        """Look, unless somebody does: a look that takes long must not undo what a later one found.

        Nor may a disk that hangs take one thread after another.
        """
        if self._looking.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._looking.release()

    def _look(self) -> None:
        try:
            state = state_of(self._path)
            if state == self._state:
                return
            content = read_small(self._path)
        except OSError as error:
            # What it says by now is not known, so the next look is for that.
            self._complain(error.strerror or str(error))
            return
        self._state = state
        self._take(content)

    def _take(self, content: bytes) -> None:
        try:
            self._value = self._parse(content)
        except ValueError as error:
            self._complain(str(error))
        else:
            self._complaint = ""
            logger.info("%s was read anew", self._path)

    def _complain(self, reason: str) -> None:
        """Say why the file can't be used, once."""
        if reason != self._complaint:
            self._complaint = reason
            said = "%s can't be used, what it said before stays in force: %s"
            logger.error(said, self._path, reason)


def state_of(path: Path) -> State:
    """Look at a file, or at what a link leads to (blocks); raise OSError."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_small(path: Path) -> bytes:
    """Read a file (blocks); raise OSError, or ValueError for more than 16 MiB."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is larger than 16 MiB")
    return content
