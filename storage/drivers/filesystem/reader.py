"""Synchronous reads of files below a root folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from storage.drivers.base import SMALL, Entry, FileInfo, LinkTarget
from storage.drivers.filesystem.directory_entries import entry_at, listed, scan
from storage.drivers.filesystem.folder_cache import FolderCache
from storage.drivers.filesystem.owned_copies import replace_by_copy
from storage.drivers.filesystem.posix import ABSENT, READING
from storage.errors import PathNotFound, WrongOwner


class FileReader:
    """Implements `base.Reader` below a root folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folder_cache = FolderCache()

    def names(self, path: str) -> list[str]:
        return [entry.name for entry in listed(self._absolute(path))]

    def folders(self, path: str) -> list[str]:
        return self._folder_cache.names(self._absolute(path))

    def entries(self, path: str) -> Iterator[Entry]:
        return scan(self._absolute(path))

    def entry(self, path: str) -> Entry | None:
        try:
            return entry_at(self._absolute(path))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return None

    def read(self, path: str, limit: int = SMALL) -> bytes:

        try:
            fd = os.open(self._absolute(path), READING)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    raise PathNotFound(path)
                return _read_all(fd, limit)
            finally:
                os.close(fd)
        except OSError as error:
            raise absence(path, error) from None

    def stat(self, path: str) -> FileInfo | None:
        stat_result = self._stat(path)
        if stat_result is None or not stat.S_ISREG(stat_result.st_mode):
            return None
        return FileInfo(size=stat_result.st_size, modified_ns=stat_result.st_mtime_ns)

    def touch(self, path: str) -> FileInfo | None:
        """Set a file's mtime to now, and return its `stat`; raise `WrongOwner` if it is refused."""
        try:
            self._refresh(self._absolute(path))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return None
        return self.stat(path)

    def _refresh(self, at: str) -> None:
        try:
            os.utime(at)
        except PermissionError:
            try:
                replace_by_copy(at)
            except PermissionError:
                raise WrongOwner(at, os.geteuid(), self._root) from None

    def modified(self, path: str) -> int | None:
        stat_result = self._stat(path)
        return None if stat_result is None else stat_result.st_mtime_ns

    def link_target(self, path: str) -> LinkTarget:
        at = self._absolute(path)
        if not os.path.islink(at):
            return LinkTarget.ITSELF if os.path.lexists(at) else LinkTarget.MISSING
        try:
            os.stat(at)
        except OSError as error:
            if error.errno == errno.ELOOP:
                return LinkTarget.ITSELF
            if error.errno not in ABSENT:
                raise
            return LinkTarget.DANGLING
        inside = os.path.realpath(at).startswith(f"{os.path.realpath(self._root)}/")
        return LinkTarget.INSIDE if inside else LinkTarget.OUTSIDE

    def exists(self, path: str) -> bool:
        """Return whether a file or a folder exists."""
        return self._stat(path) is not None

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(self._absolute(path))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            return None

    def _absolute(self, path: str) -> str:
        return f"{self._root}/{path}"


def absence(path: str, error: OSError) -> Exception:
    """Return PathNotFound for an error that means absence, and any other error unchanged."""
    return PathNotFound(path) if error.errno in ABSENT else error


def _read_all(fd: int, limit: int) -> bytes:
    data = os.read(fd, limit)
    if not data or len(data) == limit:
        return data
    parts = [data]
    length = len(data)
    while length < limit and (more := os.read(fd, limit - length)):
        parts.append(more)
        length += len(more)
    return b"".join(parts)
