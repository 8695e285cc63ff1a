"""Files below a root folder. Correctness rests on rename, O_EXCL and flock, never on this process.

Reads of a few bytes, and `stat`, run on the event loop: on a local disk they cost less than a hop
to a thread. Everything else (content, listings, writes, fsync) runs on the driver's own threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiofiles

from storage.concurrency.cancellation import or_undone, to_completion
from storage.concurrency.threads import Threads
from storage.drivers.base import (
    CHUNK,
    SMALL,
    ExclusiveEditor,
    FileInfo,
    FileSnapshot,
    FolderLock,
    Reader,
    TouchingReader,
)
from storage.drivers.changes import Put, Step
from storage.drivers.filesystem import durable, file_modes
from storage.drivers.filesystem.editor import FileEditor
from storage.drivers.filesystem.file_cache import FileCache
from storage.drivers.filesystem.locks import FolderLocks
from storage.drivers.filesystem.posix import READING, discard
from storage.drivers.filesystem.prepared import prepare
from storage.drivers.filesystem.reader import FileReader, absence
from storage.drivers.filesystem.staging import FileStaging
from storage.drivers.filesystem.tree_lock import TreeLock
from storage.errors import PathNotFound
from storage.values.paths import TRASH

logger = logging.getLogger(__name__)

T = TypeVar("T")


class OpenedFile:
    """A file open for reading."""

    def __init__(self, fd: int, size: int, threads: Threads) -> None:
        self._fd = fd
        self._threads = threads
        self.size = size

    @property
    def file(self) -> OpenedFile:
        return self

    def fileno(self) -> int:
        return self._fd

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`; fewer only if the file was truncated."""
        async with aiofiles.open(
            self._fd, "rb", buffering=0, closefd=False, executor=self._threads
        ) as file:
            await file.seek(start)
            while start < stop and (data := await file.read(min(CHUNK, stop - start))):
                start += len(data)
                yield data

    async def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class FilesystemDriver:
    """A driver that stores everything below `root`, a folder that must exist."""

    has_files = True

    def __init__(self, root: Path, *, sync: bool = True, threads: int = 32) -> None:
        self.root = os.path.abspath(root).rstrip("/")
        self._reader = FileReader(self.root)
        self._file_cache = FileCache(self.root)
        self._threads = Threads(threads)
        self._run = self._threads.run
        self._run_locking = self._threads.run_locking
        self._sync = sync
        self._tree = TreeLock(self.root)
        self._disk = durable.Disk(self.root, self._tree, sync=sync)
        self._locks = FolderLocks(self._run)
        self.staging = FileStaging(self.root, self._disk, self._threads, sync=sync)

    def start(self) -> None:
        """Start the first worker threads, before there are requests; may raise RuntimeError."""
        self._threads.start()

    def suspend(self) -> None:
        """Suspend this process as soon as it does not hold the tree lock; blocks."""
        self._tree.suspend()

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        if limit > SMALL:
            return await self._run(self._reader.read, path, limit)
        try:
            return self._file_cache.read(path)[:limit]
        except OSError as error:
            raise absence(path, error) from None

    def snapshot(self, path: str) -> FileSnapshot | None:
        return self._file_cache.snapshot(path)

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        return self._file_cache.is_unchanged(snapshot)

    async def stat(self, path: str) -> FileInfo | None:
        return self._reader.stat(path)

    async def exists(self, path: str) -> bool:
        return self._reader.exists(path)

    async def open(self, path: str) -> OpenedFile:
        try:
            fd = os.open(self._absolute(path), READING)
        except OSError as error:
            raise absence(path, error) from None
        try:
            stat_result = os.fstat(fd)
            if not stat.S_ISREG(stat_result.st_mode):
                raise PathNotFound(path)
            return OpenedFile(fd, stat_result.st_size, self._threads)
        except BaseException:
            os.close(fd)
            raise

    async def write(self, path: str, content: bytes) -> None:
        await self.publish((Put(path, content),))

    async def write_unsynced(self, path: str, content: bytes) -> None:
        await self._run(self._disk.write_unsynced, self._absolute(path), content)

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        return await self._run_locking(self._publish, steps, check)

    def _publish(
        self, steps: Sequence[Step], check: Callable[[TouchingReader], None] | None
    ) -> tuple[str, ...]:
        bound_check = None if check is None else partial(check, self._reader)
        existing = self._disk.publish(prepare(self.root, steps), bound_check)
        return tuple(path.removeprefix(f"{self.root}/") for path in existing)

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        bound_check = None if check is None else partial(check, self._reader)
        return await self._run_locking(
            self._disk.remove, self._absolute(path), self._absolute(TRASH), bound_check
        )

    async def sync_removals(self, path: str) -> None:
        await self._run(self._disk.sync_removals, self._absolute(path))

    async def touch(self, path: str) -> FileInfo | None:
        return await self._run_locking(self._touch, path)

    def _touch(self, path: str) -> FileInfo | None:
        with self._tree.shared():
            return self._reader.touch(path)

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        return await to_completion(self._run_locking(self._exclusively, job))

    def _exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        with contextlib.ExitStack() as after, self._tree.exclusive() as tree:
            editor = FileEditor(self.root, tree)
            after.callback(editor.finish, sync=self._sync)
            return job(editor)

    @contextlib.asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        fd = await or_undone(self._run(self._tree.claim, what), os.close)
        try:
            yield
        finally:
            os.close(fd)

    def lock(self, path: str) -> AbstractAsyncContextManager[FolderLock]:
        return self._locks.hold(path, self._absolute(path))

    async def batch(self, job: Callable[[Reader], T]) -> T:
        return await self._run(job, self._reader)

    async def close(self) -> None:
        """End the worker threads after their current calls."""
        await asyncio.to_thread(self._threads.shutdown)

    def _absolute(self, path: str) -> str:
        return f"{self.root}/{path}"


def make_ready(root: Path) -> None:
    """Create the lock files and the trash folder, and empty the trash; blocks, before serving.

    With these in place, deleting works even when the disk is full. Errors are only logged, because
    a full disk can still be read.
    """
    try:
        TreeLock(str(root)).prepare()
        (root / TRASH).mkdir(file_modes.PRIVATE_FOLDER, exist_ok=True)
        file_modes.close_to_others(str(root / TRASH))
    except OSError as error:
        logger.warning("could not create the lock files and the trash folder: %s", error)
    empty_trash(root)


def empty_trash(root: Path) -> None:
    """Remove what crashed processes left in the trash; blocks."""
    trash = root / TRASH
    with contextlib.suppress(OSError):
        for name in os.listdir(trash):
            # Another server may be about to publish it: the first rename decides.
            claimed = trash / uuid.uuid4().hex
            with contextlib.suppress(OSError):
                (trash / name).rename(claimed)
                discard(str(claimed))
