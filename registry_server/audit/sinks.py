"""Sinks of the audit log: a file that several processes may append to, or the server's log."""

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

# The fields of a line by name; values are text, numbers or lists of text.
Entry: TypeAlias = Mapping[str, object]

_MOST_WAITING = 8 << 20  # bytes of memory; a line with many tags takes 15,000
_BURST = 500  # lines written before the file is reopened
_MODE = 0o640  # of a new file; its content is not for all users of the machine

logger = logging.getLogger(__name__)
audit_logger = logging.getLogger(AUDIT_LOGGER)


class Sink(Protocol):
    """Receives the lines of the audit log."""

    def put(self, entry: Entry) -> None:
        """Accept a line on the event loop; neither blocks nor raises."""


class LogSink:
    """Writes each line to the server's log, whatever its level, with the fields as `extra`."""

    def __init__(self) -> None:
        audit_logger.setLevel(logging.INFO)

    def put(self, entry: Entry) -> None:
        """Log a line without its time, because the log adds one."""
        fields = {name: value for name, value in entry.items() if name != "time"}
        audit_logger.info("%s %s", entry["action"], entry["outcome"], extra=fields)


class FileSink:
    """Appends lines to a file, as JSON, in a thread.

    The file is reopened every `_BURST` lines, so it can be rotated by renaming it. While writing
    fails, lines are queued up to a limit and each new line triggers another attempt; the failure is
    logged once.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: deque[bytes] = deque()
        # Bytes of all lines accepted and of all written. Only the event loop changes the first and
        # only the writing thread the second while it runs, so neither needs a lock.
        self._accepted = self._written = 0
        self._writing: asyncio.Future[OSError | None] | None = None
        self._is_failing = False
        self._is_torn = False
        self._dropped = 0

    def put(self, entry: Entry) -> None:
        """Queue a line; if the queue is full, drop and count it."""
        line = json.dumps(entry).encode() + b"\n"
        if self._accepted - self._written + getsizeof(line) <= _MOST_WAITING:
            self._accepted += getsizeof(line)
            self._waiting.append(line)
        else:
            self._dropped += 1
        self._begin()

    async def flushed(self) -> None:
        """Return when no write is running; only lines that can't be written are still queued."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Write the queued lines, and log how many could not be written."""
        if self._waiting:
            self._begin()
        await self.flushed()
        self._dropped += len(self._waiting)
        self._waiting.clear()
        self._written = self._accepted
        self._log_dropped()

    def _begin(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write)
            self._writing.add_done_callback(self._ended)

    def _ended(self, writing: asyncio.Future[OSError | None]) -> None:
        self._writing = None
        error = writing.result()
        if error is not None:
            self._log_failure(error)
            return
        if self._is_failing:
            self._is_failing = False
            logger.info("the audit log %s is writable again", self._path)
        self._log_dropped()
        if self._waiting:
            self._begin()

    def _log_failure(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            reason = reason_of(error)
            logger.error("could not write the audit log %s, lines queued: %s", self._path, reason)

    def _log_dropped(self) -> None:
        if self._dropped:
            logger.error("dropped %d lines of the audit log %s", self._dropped, self._path)
            self._dropped = 0

    def _write(self) -> OSError | None:
        """Write up to `_BURST` queued lines; return the error, if any (blocks)."""
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
        """Write a line in one call, so that lines of several processes never mix."""
        # A line that a full disk has cut short is terminated first.
        content = b"\n" + line if self._is_torn else line
        if os.write(descriptor, content) < len(content):
            self._is_torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._is_torn = False


class Sinks:
    """The sinks of a process: one for each file, kept across reloads."""

    def __init__(self) -> None:
        self._files: dict[Path, FileSink] = {}

    def at(self, path: Path | None) -> Sink:
        """Return the sink for `path`; None means the server's log."""
        return LogSink() if path is None else self._files.setdefault(path, FileSink(path))

    async def close(self) -> None:
        """Write the queued lines of all sinks."""
        for sink in self._files.values():
            await sink.close()


def open_file(path: Path, *, create: bool = True) -> int:
    """Open a file for appending, and return its descriptor; raise OSError (blocks)."""
    # Non-blocking: opening a pipe without a reader is then an error and does not block a thread.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags | (os.O_CREAT if create else 0), _MODE)
