"""The contract between the meaning of bytes (above) and their storage (below).

Paths are relative, joined by slashes, and safe: only `storage.values.paths` makes them. Any number
of worker processes may call the methods concurrently. The promises about durability and atomicity
hold across processes and across a power failure.

Lock order: staged file, quota lock (`storage.repository.quotas`), folder, tree, never the reverse.
This order rules out deadlocks. Publishing and deleting take the tree lock themselves.

A driver need not be able to append or rename. Unfinished bytes are kept in its `Staging`, which is
a folder for files and may be a multipart upload for an object store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from storage.drivers.changes import Step
from storage.values.buffers import Buffer, HasDescriptor

T = TypeVar("T")

# Bytes that a driver may read on the event loop. Links and hash states are far smaller.
SMALL = 4096
# Bytes read or written in one hop to a worker thread.
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file's size in bytes, and its mtime in ns since 1970.

    Changes of a file that are seconds apart have different mtimes. So an equal `modified_ns` means
    that the file was not written, replaced or touched since.
    """

    size: int
    modified_ns: int

    @property
    def modified(self) -> float:
        """The mtime in seconds since 1970."""
        return self.modified_ns / 1e9


class FileSnapshot(NamedTuple):
    """The content of a small file, and the state by which its driver detects a change."""

    path: str
    content: bytes
    state: object


class Entry(NamedTuple):
    """One entry of a folder. A symbolic link to a folder counts as a folder."""

    name: str
    is_folder: bool


class LinkTarget(Enum):
    """The target of a path whose last part may be a symbolic link."""

    MISSING = "the path is missing"
    ITSELF = "the path is no symbolic link, or a link to itself; neither hides anything"
    INSIDE = "a link to another path of this driver"
    OUTSIDE = "a link to a path outside this driver's root"
    DANGLING = "a dangling link"


class Reader(Protocol):
    """Synchronous reads, for a job that makes many of them in one hop to a worker thread."""

    def names(self, path: str) -> list[str]:
        """Return the names of a folder's entries, in no order; none when the folder is missing.

        A driver without real folders leaves out empty ones. Names are not checked: other programs
        may have created any.
        """

    def folders(self, path: str) -> list[str]:
        """Return the names of the folders in a folder, as `names` does."""

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield the entries of a folder, in no order, as `names` does.

        They are read lazily and not kept in memory: use this for folders of any size. An entry
        that is added or removed meanwhile may be missing; every other entry is yielded once.
        """

    def entry(self, path: str) -> Entry | None:
        """Return the entry that `entries` of the parent yields for `path`; None when missing."""

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read as `Driver.read` does."""

    def stat(self, path: str) -> FileInfo | None:
        """Return what `Driver.stat` returns."""

    def modified(self, path: str) -> int | None:
        """Return when entries of a folder were last added or removed, in ns; None if unknown."""

    def link_target(self, path: str) -> LinkTarget:
        """Return where a path leads; a link may dangle because a disk is not mounted."""


class TouchingReader(Reader, Protocol):
    """Reads made under the shared tree lock: nothing found is removed before the publication."""

    def touch(self, path: str) -> FileInfo | None:
        """Set the mtime of a file to now, and return what `stat` returns then."""


class ExclusiveEditor(Reader, Protocol):
    """Reads, removals and moves under the exclusive tree lock."""

    def remove(self, path: str) -> bool:
        """Remove a file or a folder tree, then the parents that are left empty.

        Returns whether the path existed.
        """

    def remove_empty(self, path: str) -> bool:
        """Remove a folder if it is empty, then the parents that are left empty.

        Returns whether the folder was removed. A driver without real folders has none to remove.
        """

    def move(self, path: str, target: str) -> bool:
        """Move a file or a folder tree to `target`, replacing what is there.

        Removes the parents of `path` that are left empty. Returns whether `path` existed; if not,
        `target` is unchanged. Between two filesystems the move is a copy made after the job, and a
        failure to copy is only logged as a warning.
        """


class OpenFile(Protocol):
    """A file open for reading: its bytes stay readable until `close`, even if it is deleted."""

    size: int

    @property
    def file(self) -> HasDescriptor | None:
        """The open file, for the kernel to send from; None for a driver without files."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`, at most CHUNK at a time."""

    async def close(self) -> None:
        """Close the file; calling it twice does nothing."""


class StagedFile(Protocol):
    """Unfinished bytes under an exclusive lock, which excludes all other processes."""

    @property
    def length(self) -> int:
        """The number of bytes that are stored."""

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        """Append `data`, and call `observe` with it on the same worker thread.

        `length` counts `data` after that. Calls may overlap and are executed in order. On failure
        nothing of `data` is kept, and every later append fails with the same error until the file
        is opened again.
        """

    async def truncate(self, length: int) -> None:
        """Drop everything after the first `length` bytes."""

    async def sync(self) -> None:
        """Make the bytes durable. On failure none of them is kept."""

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        """Call `observe` with the bytes from `start` to the end, in order, off the event loop."""

    async def adopt(self, target: str, *then: Step) -> None:
        """Publish the bytes as `target`: durable, atomic, replacing what was there.

        Sets the mtime to now, however old the bytes are. The steps in `then` follow, as in
        `Driver.publish`, which also says when TimeoutError is raised. Afterwards the staged file
        is gone, and so is the folder it was created in. Its other files are kept until the steps
        are done. A power failure may delay the removal of that folder.
        """


class Staging(Protocol):
    """The place for unfinished bytes."""

    async def create(self, path: str, files: Mapping[str, bytes]) -> None:
        """Create an empty staged file, after `files`, which are small; nothing is synced.

        `path` must be new, in a new folder of its own, which also contains `files`.
        """

    async def length(self, path: str) -> int:
        """Return the number of bytes stored; raise PathNotFound when `path` was not created."""

    async def is_locked(self, path: str) -> bool:
        """Return whether any process holds the lock of the staged file."""

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        """Open the staged file under its exclusive lock.

        Raises PathNotFound, or StagingBusy when another holder keeps the lock for seconds.
        """

    async def discard(self, path: str) -> None:
        """Remove a session's folder or one of its files; not durable, no error when missing."""


class FolderLock(Protocol):
    """The exclusive lock of a folder."""

    def check(self) -> None:
        """Raise PathNotFound unless the locked folder is still the one at its path.

        The folder may be removed with its parent while it is locked, and be created again under
        another lock. Call this in the `check` of a change: the answer holds until the change.
        """


class StagingBusy(Exception):
    """Another holder has the lock of the staged file."""


class Driver(Protocol):
    """One store of bytes."""

    @property
    def has_files(self) -> bool:
        """Whether a path names a file below a folder that other programs can read."""

    @property
    def staging(self) -> Staging:
        """The place for unfinished bytes."""

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Return the content of a file, cut after `limit` bytes; raise PathNotFound."""

    def snapshot(self, path: str) -> FileSnapshot | None:
        """Return the last read of a small file; None unless a later change can be detected.

        Another request may have read newer content since your read, so compare the two.
        """

    def is_unchanged(self, snapshot: FileSnapshot) -> bool:
        """Check, without leaving the event loop, that a file exists and is unchanged."""

    async def stat(self, path: str) -> FileInfo | None:
        """Return the size and mtime of a file; None when it is missing."""

    async def exists(self, path: str) -> bool:
        """Return whether a file or a folder exists; a driver may not know empty folders."""

    async def open(self, path: str) -> OpenFile:
        """Open a file for reading; raise PathNotFound."""

    async def write(self, path: str, content: bytes) -> None:
        """Replace the content of a file, atomically and durably."""

    async def write_unsynced(self, path: str, content: bytes) -> None:
        """Write a small file without fsync: a power failure may remove or damage it."""

    async def publish(
        self, *steps: Step, check: Callable[[TouchingReader], None] | None = None
    ) -> tuple[str, ...]:
        """Carry out the steps in order; all changes but `PutUnsynced` are durable on return.

        No change is visible, or survives a power failure, before all changes of the earlier steps
        are durable, except for `PutUnsynced`. `check` is called first and may read; an error it
        raises is raised here, and nothing is changed. The shared tree lock is held from before the
        check until after the last change, so no job of `exclusively` runs then; the same is true
        of `StagedFile.adopt`. Returns the path of each `Appear` that found its folder in use and
        changed nothing there.

        On failure the steps up to some point are done, and perhaps a part of the next one. A
        driver that can do no better carries out one change after the other. Raises TimeoutError,
        with nothing done, when a job of `exclusively` takes too long.
        """

    async def delete(self, path: str, check: Callable[[Reader], None] | None = None) -> bool:
        """Remove a file or a folder tree, atomically for readers and durably.

        `check` is called first, as by `publish`. Returns whether the path existed; if not, call
        `sync_removals` to make its absence durable. Raises TimeoutError as `publish` does.
        """

    async def sync_removals(self, path: str) -> None:
        """Make durable what was created and removed at a path, in it, and in its parents.

        For a caller that finds a path missing: the process that removed it may have failed to
        sync the removal.
        """

    async def touch(self, path: str) -> FileInfo | None:
        """Set the mtime of a file to now, under the shared tree lock, and return its `stat`.

        For a caller that is about to rely on the file. Raises TimeoutError as `publish` does.
        """

    async def exclusively(self, job: Callable[[ExclusiveEditor], T]) -> T:
        """Run `job` under the exclusive tree lock and return its result.

        Removals are visible in the order in which the job makes them, and durable on return. All
        publications wait, so the job must be brief. When the job or the storage fails, what was
        removed so far stays removed. Raises TimeoutError when publications do not end.
        """

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock named `what`, one word; raise `AlreadyRunning` if any process holds it."""

    def lock(self, path: str) -> AbstractAsyncContextManager[FolderLock]:
        """Hold the exclusive lock of a folder, in all processes, for a few writes.

        A holder may publish, and takes no other lock (see the lock order above). Raises
        PathNotFound when the folder is missing, and TimeoutError when the wait takes too long.
        """

    async def batch(self, job: Callable[[Reader], T]) -> T:
        """Run `job` off the event loop, and return its result."""

    async def close(self) -> None:
        """Release threads and connections; the driver is not used afterwards."""
