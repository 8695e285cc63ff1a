"""Where the lines go: to a file, which several processes may append to, or to the log."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from sys import getsizeof
from typing import Protocol, TypeAlias

from storage.errors import reason_of

AUDIT_LOGGER = "registry.audit"

# What a line says, by the names of its fields: text, numbers, lists of text.
Entry: TypeAlias = Mapping[str, object]

_MOST_WAITING = 8 << 20  # bytes of memory; a line with many tags takes 15,000
_BURST = 500  # lines for each time the file is opened
_MODE = 0o640  # of a file that is made: who does what is not for everybody to read

logger = logging.getLogger(__name__)
audit_logger = logging.getLogger(AUDIT_LOGGER)


class Sink(Protocol):
    """Takes the lines."""

    def put(self, entry: Entry) -> None:
        """Take one, on the event loop; it neither waits nor fails."""


class LogSink:
    """Has the log say it, at any level: each field is one of the log's line."""

    def __init__(self) -> None:
        audit_logger.setLevel(logging.INFO)

    def put(self, entry: Entry) -> None:
        """Log one, without its time: the log has its own."""
        facts = {name: value for name, value in entry.items() if name != "time"}
        audit_logger.info("%s %s", entry["action"], entry["outcome"], extra=facts)


class FileSink:
    """Appends lines to a file, as JSON, in a thread.

    It is opened anew for every few lines, so one that was moved away is left alone. While it can't
    be written lines wait, up to a limit, for the next line to try again; the log says so once.
    """

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._path = path
        self._waiting: deque[bytes] = deque()
        # Bytes of all lines accepted and of all written. Only the event loop changes the first and
        # only the writing thread the second while it runs, so neither needs a lock.
        self._taken = self._written = 0
        self._writing: asyncio.Future[OSError | None] | None = None
        self._fails = False
        self._is_torn = False
        self._lost = 0

    def put(self, entry: Entry) -> None:
        """Have a line written soon; one too many is lost, and counted."""
        line = json.dumps(entry).encode() + b"\n"
        if self._taken - self._written + getsizeof(line) <= _MOST_WAITING:
            self._taken += getsizeof(line)
            self._waiting.append(line)
        else:
            self._lost += 1
        self._begin()

    async def settled(self) -> None:
        """Return when nothing is being written: no line waits, but for a mended file."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Return when every line is written that can be; the log says how many can't."""
        if self._waiting:
            self._begin()
        await self.settled()
        self._lost += len(self._waiting)
        self._waiting.clear()
        self._written = self._taken
        self._tell_lost()

    def _begin(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write)
            self._writing.add_done_callback(self._ended)

    def _ended(self, writing: asyncio.Future[OSError | None]) -> None:
        self._writing = None
        error = writing.result()
        if error is not None:
            self._complain(error)
            return
        if self._fails:
            self._fails = False
            logger.info("the audit log %s is written again", self._path)
        self._tell_lost()
        if self._waiting:
            self._begin()

    def _complain(self, error: OSError) -> None:
        if not self._fails:
            self._fails = True
            reason = reason_of(error)
            logger.error("the audit log %s can't be written, lines wait: %s", self._path, reason)

    def _tell_lost(self) -> None:
        if self._lost:
            logger.error("%d lines of the audit log %s are lost", self._lost, self._path)
            self._lost = 0

    def _write(self) -> OSError | None:
        """Write some of the lines that wait, and return what was in the way (blocks)."""
        try:
            descriptor = open_file(self._path)
            try:
                for _ in range(min(_BURST, len(self._waiting))):
                    self._append(descriptor, self._waiting[0])
                    self._written += getsizeof(self._waiting.popleft())
            finally:
                os.close(descriptor)
        except OSError as error:
            return error
        return None

    def _append(self, descriptor: int, line: bytes) -> None:
        """Write a line at once, so that those of several processes never mix."""
        # What a full disk has cut short is ended first.
        content = b"\n" + line if self._is_torn else line
        if os.write(descriptor, content) < len(content):
            self._is_torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_torn = False


class Sinks:
    """The sinks of a process: one for each file, however often its settings change."""

    def __init__(self) -> None:
        self._files: dict[Path, FileSink] = {}

    def at(self, path: Path | None) -> Sink:
        """Return what writes to `path`, or to the log if there is none."""
        return LogSink() if path is None else self._files.setdefault(path, FileSink(path))

    async def close(self) -> None:
        """Return when every line is written that can be."""
        for each in self._files.values():
            await each.close()


def open_file(path: Path, *, create: bool = True) -> int:
    """Open a file to append to it, creating it if it is missing; raise OSError (blocks)."""
    # Non-blocking: a pipe that nothing reads is an error then, and holds no thread for ever.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags | (os.O_CREAT if create else 0), _MODE)
