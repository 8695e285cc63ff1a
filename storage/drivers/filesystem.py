"""Files below a root folder. Correctness rests on rename, O_EXCL and flock, never on this process.

Reads of a few bytes, and `stat`, run on the event loop: on a local disk a hop to a thread costs
more than they do. Everything else (content, listings, writes, fsync) runs on the driver's own
threads.
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

from storage.concurrency import or_undone, to_completion
from storage.drivers import durable, modes
from storage.drivers.base import CHUNK, SMALL, Editor, FileInfo, Held, Mark, Uses, View
from storage.drivers.changes import Put, Step
from storage.drivers.editor import FileEditor
from storage.drivers.file_locks import FileLocks
from storage.drivers.file_staging import FileStaging
from storage.drivers.file_view import FileView, absence
from storage.drivers.posix import READING, discard
from storage.drivers.prepared import prepare
from storage.drivers.small_files import SmallFiles
from storage.drivers.threads import Threads
from storage.drivers.tree_lock import TreeLock
from storage.errors import PathNotFound
from storage.paths import TRASH

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
        """The file itself."""
        return self

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`; short only if the file was cut meanwhile."""
        async with aiofiles.open(
            self._fd, "rb", buffering=0, closefd=False, executor=self._threads
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
        self._threads = Threads(threads)
        self._run = self._threads.run
        self._run_locking = self._threads.run_locking
        self._sync = sync
        self._tree = TreeLock(self.root)
        self._disk = durable.Disk(self.root, self._tree, sync=sync)
        self._locks = FileLocks(self._run)
        self.staging = FileStaging(self.root, self._disk, self._threads, sync=sync)

    def start(self) -> None:
        """Make the first worker threads before there are requests; may raise RuntimeError."""
        self._threads.start()

    def suspend(self) -> None:
        """Suspend this process as soon as it holds no lock of the tree; blocks."""
        self._tree.suspend()

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Return the whole file, inline when it is known to be small."""
        if limit > SMALL:
            return await self._run(self._view.read, path, limit)
        try:
            return self._small.read(path)[:limit]
        except OSError as error:
            raise absence(path, error) from None

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
            fd = os.open(self._at(path), READING)
        except OSError as error:
            raise absence(path, error) from None
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise PathNotFound(path)
            return OpenedFile(fd, state.st_size, self._threads)
        except BaseException:
            os.close(fd)
            raise

    async def write(self, path: str, content: bytes) -> None:
        """Make `content` the file's, durably."""
        await self.publish((Put(path, content),))

    async def note(self, path: str, content: bytes) -> None:
        """Write something that may be lost."""
        await self._run(self._disk.note, self._at(path), content)

    async def publish(
        self, *steps: Step, check: Callable[[Uses], None] | None = None
    ) -> tuple[str, ...]:
        """Check and carry out all in one hop."""
        return await self._run_locking(self._publish, steps, check)

    def _publish(
        self, steps: Sequence[Step], check: Callable[[Uses], None] | None
    ) -> tuple[str, ...]:
        first = None if check is None else partial(check, self._view)
        in_the_way = self._disk.publish(prepare(self.root, steps), first)
        return tuple(path.removeprefix(f"{self.root}/") for path in in_the_way)

    async def delete(self, path: str, check: Callable[[View], None] | None = None) -> bool:
        """Check and remove a file or a folder in one hop."""
        first = None if check is None else partial(check, self._view)
        return await self._run_locking(self._disk.remove, self._at(path), self._at(TRASH), first)

    async def settle(self, path: str) -> None:
        """Sync the folders that are there."""
        await self._run(self._disk.settle, self._at(path))

    async def use(self, path: str) -> FileInfo | None:
        """Look at a file, and have its last change be now, beside nobody who is alone."""
        return await self._run_locking(self._use, path)

    def _use(self, path: str) -> FileInfo | None:
        with self._tree.shared():
            return self._view.use(path)

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        """Do all in one hop."""
        return await to_completion(self._run_locking(self._exclusively, job))

    def _exclusively(self, job: Callable[[Editor], T]) -> T:
        with contextlib.ExitStack() as after, self._tree.alone() as held:
            editor = FileEditor(self.root, held)
            after.callback(editor.finish, sync=self._sync)
            return job(editor)

    @contextlib.asynccontextmanager
    async def claim(self, what: str) -> AsyncIterator[None]:
        """Hold a lock of that name."""
        fd = await or_undone(self._run(self._tree.claim, what), os.close)
        try:
            yield
        finally:
            os.close(fd)

    def lock(self, path: str) -> AbstractAsyncContextManager[Held]:
        """Hold a folder exclusively."""
        return self._locks.hold(path, self._at(path))

    async def batch(self, job: Callable[[View], T]) -> T:
        """Run `job` on a worker thread."""
        return await self._run(job, self._view)

    async def close(self) -> None:
        """End the worker threads; what they are doing is finished first."""
        await asyncio.to_thread(self._threads.shutdown)

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"


def make_ready(root: Path) -> None:
    """Make what changes need beside the tree, and empty the trash; blocks, call before serving.

    Made while there is room, it lets things be deleted when there is none. Errors are logged: a
    full disk can still be served from.
    """
    try:
        TreeLock(str(root)).prepare()
        (root / TRASH).mkdir(modes.PRIVATE_FOLDER, exist_ok=True)
        modes.close_to_others(str(root / TRASH))
    except OSError as error:
        logger.warning("what locks and removals need was not made: %s", error)
    empty_trash(root)


def empty_trash(root: Path) -> None:
    """Remove what a process that died left in the trash; blocks."""
    trash = root / TRASH
    with contextlib.suppress(OSError):
        for name in os.listdir(trash):
            # Another server may be about to move it into place: whoever renames it first has it.
            claimed = trash / uuid.uuid4().hex
            with contextlib.suppress(OSError):
                (trash / name).rename(claimed)
                discard(str(claimed))
