"""Reads that continue past what can't be read, and record it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from storage.drivers.base import SMALL, Entry, FileInfo, LinkTarget, Reader
from storage.errors import PathNotFound, raise_if_exhausted, reason_of

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Trouble(NamedTuple):
    """A path that could not be read, and the reason."""

    path: str
    reason: str


class Reads(Protocol):
    """The part of a driver that only reads."""

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run `job` as `Driver.batch` does."""


class TolerantReads:
    """`inner`, whose jobs read through a `TolerantReader`."""

    def __init__(self, inner: Reads, trouble: list[Trouble]) -> None:
        self._inner = inner
        self._trouble = trouble

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run `job`."""
        return await self._inner.batch(lambda reader: job(TolerantReader(reader, self._trouble)))


class TolerantReader:
    """`inner`, with what can't be read treated as missing and added to `trouble`.

    Every method raises an OSError for lack of descriptors or memory, which says nothing about the
    path and ends the command.
    """

    def __init__(self, inner: Reader, trouble: list[Trouble]) -> None:
        self._inner = inner
        self._trouble = trouble

    def names(self, path: str) -> list[str]:
        return self._attempt(self._inner.names, path, [])

    def folders(self, path: str) -> list[str]:
        return self._attempt(self._inner.folders, path, [])

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield the entries of a folder, up to where it can't be read."""
        try:
            yield from self._inner.entries(path)
        except OSError as error:
            self._note(path, error)

    def entry(self, path: str) -> Entry | None:
        return self._attempt(self._inner.entry, path, None)

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read a file; raise PathNotFound also when it can't be read."""
        try:
            return self._inner.read(path, limit)
        except OSError as error:
            self._note(path, error)
            raise PathNotFound(path) from None

    def stat(self, path: str) -> FileInfo | None:
        return self._attempt(self._inner.stat, path, None)

    def modified(self, path: str) -> int | None:
        return self._attempt(self._inner.modified, path, None)

    def link_target(self, path: str) -> LinkTarget:
        return self._attempt(self._inner.link_target, path, LinkTarget.ITSELF)

    def _attempt(self, read: Callable[[str], T], path: str, missing: T) -> T:
        """Return what `read` returns for a path; `missing` when it can't be read."""
        try:
            return read(path)
        except OSError as error:
            self._note(path, error)
            return missing

    def _note(self, path: str, error: OSError) -> None:
        raise_if_exhausted(error)
        reason = reason_of(error)
        logger.error("%s can't be read: %s", path, reason)
        self._trouble.append(Trouble(path, reason))


def last_change(reader: Reader, path: str) -> int | None:
    """Return the mtime of a file or folder in ns since 1970; None when missing or unknown.

    The mtime of a folder changes with its list of entries.
    """
    stat = reader.stat(path)
    return reader.modified(path) if stat is None else stat.modified_ns
