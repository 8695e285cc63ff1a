"""A small file that the operator may edit while the registry serves: users, rules, keys.

The file is checked for changes when its content is needed, at most once a second. An edit that
can't be used is logged once and the previous content stays in force, so a typing mistake neither
locks callers out nor lets them in.
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

PAUSE = 1.0  # seconds between two checks
_LARGEST = 16 << 20

# Identifies the content of a file: inode, size, mtime and ctime.
State: TypeAlias = tuple[int, int, int, int]


class WatchedFile(Generic[T]):
    """The parsed content of a file, reloaded when the file changes."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        pause: float = PAUSE,
        *,
        missing: T | None = None,
    ) -> None:
        """Read the file; raise OSError or ValueError if it can't be used (blocks).

        `parse` raises ValueError with the reason. `pause` is the time between checks in seconds.
        `missing` is the value without a file; by default a missing file can't be used.
        """
        self._path = path
        self._parse = parse
        self._pause = pause
        self._missing = missing
        self._checking = threading.Lock()
        self._last_error = ""
        self._state = self._current_state()
        self.value = self._load(self._state)
        self._checked_at = time.monotonic()

    async def now(self) -> T:
        """Return the content of the file, or the last usable one."""
        if time.monotonic() - self._checked_at >= self._pause:
            self._checked_at = time.monotonic()
            await asyncio.to_thread(self._check_if_free)
        return self.value

    def has_changed(self) -> bool:
        """Tell by one `stat` whether the file differs from the content, or can't be checked."""
        try:
            return self._current_state() != self._state
        except OSError:
            return True

    def check(self) -> None:
        """Reload the file if it has changed (blocks); an unusable one is logged once."""
        # Waits for the lock: the result of a check that began earlier may be outdated.
        with self._checking:
            self._check()

    def _check_if_free(self) -> None:
        """Check the file, unless another thread does.

        A slow check must not overwrite the result of a later one, and a disk that hangs must not
        block more than one thread.
        """
        if self._checking.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._checking.release()

    def _check(self) -> None:
        try:
            state = self._current_state()
            if state == self._state:
                return
            value = self._load(state)
        except OSError as error:
            # The state is left as it is, so the next check reads the file again.
            self._log_error(error.strerror or str(error))
            return
        except ValueError as error:
            self._state = state
            self._log_error(str(error))
            return
        self.value = value
        self._state = state
        self._last_error = ""
        if state is None:
            logger.warning("%s was deleted: it counts as empty", self._path)
        else:
            logger.info("%s reloaded", self._path)

    def _current_state(self) -> State | None:
        """Return the state of the file; None if it is missing and may be."""
        try:
            return state_of(self._path)
        except FileNotFoundError:
            if self._missing is None:
                raise
            return None

    def _load(self, state: State | None) -> T:
        if state is None:
            assert self._missing is not None
            return self._missing
        return self._parse(read_small(self._path))

    def _log_error(self, reason: str) -> None:
        """Log why the file can't be used, unless that was the last error as well."""
        if reason != self._last_error:
            self._last_error = reason
            logger.error(
                "could not reload %s, its previous content stays in force: %s", self._path, reason
            )


def state_of(path: Path) -> State:
    """Return the state of a file, or of the target of a link (blocks); raise OSError."""
    stat_result = os.stat(path)
    return (
        stat_result.st_ino,
        stat_result.st_size,
        stat_result.st_mtime_ns,
        stat_result.st_ctime_ns,
    )


def read_small(path: Path) -> bytes:
    """Read a file (blocks); raise OSError, or ValueError for more than 16 MiB."""
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("it is larger than 16 MiB")
    return content
