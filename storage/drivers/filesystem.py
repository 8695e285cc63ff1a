"""Files below a root folder. Correctness rests on rename, O_EXCL and flock, never on this process.

Reads of a few bytes, and `stat`, run on the event loop: on a local disk a hop to a thread costs
more than they do. Everything else (content, listings, writes, fsync) runs on the driver's own
threads.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import ParamSpec, TypeVar

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from storage.concurrency import to_completion
from storage.drivers import durable
from storage.drivers.base import CHUNK, SMALL, FileInfo, View
from storage.drivers.file_locks import FileLocks
from storage.drivers.file_staging import FileStaging
from storage.errors import PathNotFound

P = ParamSpec("P")
T = TypeVar("T")

# Ours alone, beside `docker/`: where folders are emptied that were removed, and put together that
# are to appear.
TRASH = ".trash"


# What an error says when there is nothing at a path: a symbolic link that leads to itself is
# nothing either.
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class FileView:
    """Synchronous reads below a root folder."""

    def __init__(self, root: str) -> None:
        self._root = root

    def names(self, path: str) -> list[str]:
        """Name the entries of a folder."""
        try:
            return os.listdir(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder; the listing itself tells, without a look at each."""
        try:
            return _folders(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read at most `limit` bytes of a file."""
        try:
            fd = os.open(self._at(path), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            raise PathNotFound(path) from None
        try:
            return _read_all(fd, limit)
        except IsADirectoryError:
            raise PathNotFound(path) from None
        finally:
            os.close(fd)

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

    def __init__(self, file: AsyncFileIO) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`; short only if the file was cut meanwhile."""
        await self._file.seek(start)
        while start < stop:
            data = await self._file.read(min(CHUNK, stop - start))
            if not data:
                return
            start += len(data)
            yield data

    async def close(self) -> None:
        """Let go."""
        await self._file.close()


class FilesystemDriver:
    """Everything below `root`, which must exist."""

    def __init__(self, root: Path, *, sync: bool = True, threads: int = 32) -> None:
        self.root = os.path.abspath(root).rstrip("/")
        self._view = FileView(self.root)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="storage")
        self._disk = durable.Disk(self.root, sync=sync)
        self._locks = FileLocks(self._run)
        self.staging = FileStaging(self.root, self._disk, self._run, sync=sync)

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Return the whole file, inline when it is known to be small."""
        if limit <= SMALL:
            return self._view.read(path, limit)
        return await self._run(self._view.read, path, limit)

    async def stat(self, path: str) -> FileInfo | None:
        """Look at a file, inline."""
        return self._view.stat(path)

    async def exists(self, path: str) -> bool:
        """Tell whether there is a file or a folder, inline."""
        return self._view.exists(path)

    async def open(self, path: str) -> OpenedFile:
        """Open a file for reading."""
        try:
            file = await self._open(path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise PathNotFound(path) from None
        return OpenedFile(file)

    async def _open(self, path: str) -> AsyncFileIO:
        """Open a file; one that a cancelled request does not wait for any more is closed again."""
        opening = asyncio.ensure_future(
            aiofiles.open(self._at(path), "rb", buffering=0, executor=self._pool)
        )
        try:
            return await to_completion(opening)
        except asyncio.CancelledError:
            if not opening.cancelled() and opening.exception() is None:
                await to_completion(opening.result().close())
            raise

    async def write(self, path: str, content: bytes) -> None:
        """Make `content` the file's, durably."""
        await self._run(self._disk.replace, self._at(path), content)

    async def note(self, path: str, content: bytes) -> None:
        """Write something that may be lost."""
        await self._run(self._disk.note, self._at(path), content)

    async def appear(self, path: str, files: Mapping[str, bytes]) -> bool:
        """Have a folder appear with all in it."""
        scratch = self._at(TRASH)
        return await self._run(self._disk.appear, self._at(path), files, scratch)

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

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: work(*args, **kwargs))


def _folders(path: str) -> list[str]:
    with os.scandir(path) as entries:
        found = list(entries)
    try:
        return [entry.name for entry in found if entry.is_dir()]
    except OSError:
        return [entry.name for entry in found if _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link that leads to itself, say
        return False


def empty_trash(root: Path) -> None:
    """Remove what a process that died left in the trash; blocks, call before serving."""
    shutil.rmtree(root / TRASH, ignore_errors=True)


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
