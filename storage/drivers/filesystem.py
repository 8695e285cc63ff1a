"""Files below a root folder. Correctness rests on rename, O_EXCL and flock, never on this process.

Reads of a few bytes, and `stat`, run on the event loop: on a local disk a hop to a thread costs
more than they do. Everything else (content, listings, writes, fsync) runs on the driver's own
threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeVar

import aiofiles

from storage.drivers import durable
from storage.drivers.base import CHUNK, SMALL, FileInfo, Mark, View
from storage.drivers.changes import Put, Step
from storage.drivers.file_locks import FileLocks
from storage.drivers.file_staging import FileStaging
from storage.drivers.folders import Folders
from storage.drivers.prepared import TRASH, prepare
from storage.drivers.small_files import SmallFiles
from storage.drivers.threads import Threads
from storage.errors import PathNotFound

T = TypeVar("T")


# What an error says when there is nothing to be read at a path: a folder, or a symbolic link that
# leads to itself, is nothing either.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR})


class FileView:
    """Synchronous reads below a root folder."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders = Folders()

    def names(self, path: str) -> list[str]:
        """Name the entries of a folder."""
        try:
            return os.listdir(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder; those of a large one are not read twice."""
        try:
            return self._folders.names(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read at most `limit` bytes of a file."""
        try:
            fd = os.open(self._at(path), os.O_RDONLY)
            try:
                return _read_all(fd, limit)
            finally:
                os.close(fd)
        except OSError as error:
            raise _absence(path, error) from None

    def stat(self, path: str) -> FileInfo | None:
        """Look at a file."""
        found = self._look(path)
        if found is None or stat.S_ISDIR(found.st_mode):
            return None
        return FileInfo(size=found.st_size, modified=found.st_mtime)

    def modified(self, path: str) -> int | None:
        """Tell when entries of a folder last came or went."""
        found = self._look(path)
        return None if found is None else found.st_mtime_ns

    def exists(self, path: str) -> bool:
        """Tell whether there is a file or a folder."""
        return self._look(path) is not None

    def _look(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(self._at(path))
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"


class OpenedFile:
    """A file open for reading."""

    def __init__(self, fd: int, size: int, pool: ThreadPoolExecutor) -> None:
        self._fd = fd
        self._pool = pool
        self.size = size

    @property
    def file(self) -> OpenedFile:
        """The file itself."""
        return self

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`; short only if the file was cut meanwhile."""
        async with aiofiles.open(
            self._fd, "rb", buffering=0, closefd=False, executor=self._pool
        ) as file:
            await file.seek(start)
            while start < stop and (data := await file.read(min(CHUNK, stop - start))):
                start += len(data)
                yield data

    async def close(self) -> None:
        """Let go."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FilesystemDriver:
    """Everything below `root`, which must exist."""

    has_files = True

    def __init__(self, root: Path, *, sync: bool = True, threads: int = 32) -> None:
        self.root = os.path.abspath(root).rstrip("/")
        self._view = FileView(self.root)
        self._small = SmallFiles(self.root)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage-files")
        self._threads = Threads(threads, "storage")
        self._run = self._threads.run
        self._disk = durable.Disk(self.root, sync=sync)
        self._locks = FileLocks(self._run)
        self.staging = FileStaging(self.root, self._disk, self._run, sync=sync)

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Return the whole file, inline when it is known to be small."""
        if limit > SMALL:
            return await self._run(self._view.read, path, limit)
        try:
            return self._small.read(path)[:limit]
        except OSError as error:
            raise _absence(path, error) from None

    def mark(self, path: str) -> Mark | None:
        """Vouch for what was read, if a look tells of every change."""
        return self._small.mark(path)

    def holds(self, mark: Mark) -> bool:
        """Look whether a file is what it was."""
        return self._small.holds(mark)

    async def stat(self, path: str) -> FileInfo | None:
        """Look at a file, inline."""
        return self._view.stat(path)

    async def exists(self, path: str) -> bool:
        """Tell whether there is a file or a folder, inline."""
        return self._view.exists(path)

    async def open(self, path: str) -> OpenedFile:
        """Open a file for reading, inline: it is a look at the disk like `stat`."""
        try:
            fd = os.open(self._at(path), os.O_RDONLY)
        except OSError as error:
            raise _absence(path, error) from None
        state = os.fstat(fd)
        if stat.S_ISDIR(state.st_mode):
            os.close(fd)
            raise PathNotFound(path)
        return OpenedFile(fd, state.st_size, self._pool)

    async def write(self, path: str, content: bytes) -> None:
        """Make `content` the file's, durably."""
        await self.publish((Put(path, content),))

    async def note(self, path: str, content: bytes) -> None:
        """Write something that may be lost."""
        await self._run(self._disk.note, self._at(path), content)

    async def publish(
        self, *steps: Step, check: Callable[[View], None] | None = None
    ) -> tuple[str, ...]:
        """Check and carry out all in one hop."""
        return await self._run(self._publish, steps, check)

    def _publish(
        self, steps: Sequence[Step], check: Callable[[View], None] | None
    ) -> tuple[str, ...]:
        if check is not None:
            check(self._view)
        in_the_way = self._disk.publish(prepare(self.root, steps))
        return tuple(path.removeprefix(f"{self.root}/") for path in in_the_way)

    async def delete(self, path: str) -> bool:
        """Remove a file or a folder."""
        trash = self._at(TRASH)
        return await self._run(self._disk.remove, self._at(path), trash)

    def lock(self, path: str) -> AbstractAsyncContextManager[None]:
        """Hold a folder exclusively."""
        return self._locks.hold(path, self._at(path))

    async def batch(self, job: Callable[[View], T]) -> T:
        """Run `job` on a worker thread."""
        return await self._run(job, self._view)

    async def close(self) -> None:
        """End the worker threads; what they are doing is finished first."""
        await asyncio.to_thread(self._pool.shutdown)
        await asyncio.to_thread(self._threads.shutdown)

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"


def empty_trash(root: Path) -> None:
    """Remove what a process that died left in the trash; blocks, call before serving."""
    trash = root / TRASH
    with contextlib.suppress(OSError):
        for name in os.listdir(trash):
            # Another server may be about to move it into place: whoever renames it first has it.
            claimed = trash / uuid.uuid4().hex
            with contextlib.suppress(OSError):
                (trash / name).rename(claimed)
                shutil.rmtree(claimed, ignore_errors=True)
        trash.rmdir()


def _absence(path: str, error: OSError) -> Exception:
    """Return what to raise where a path can't be read: other errors than absence as they are."""
    return PathNotFound(path) if error.errno in _ABSENT else error


def _read_all(fd: int, limit: int) -> bytes:
    data = os.read(fd, limit)
    if not data or len(data) == limit:
        return data
    parts = [data]
    held = len(data)
    while held < limit and (more := os.read(fd, limit - held)):
        parts.append(more)
        held += len(more)
    return b"".join(parts)
