"""The contract between what bytes mean (above) and where they lie (below).

Paths are relative, joined by slashes, and already safe: they come from `storage.paths` alone.
Every method may be called from any worker process at once; what a method promises about
durability and atomicity, it promises across processes and across a power cut.

Whoever holds a staged file or a folder may go on to publish or delete, which holds the tree, and
never the other way round: in that order nobody waits for somebody who waits for him. Between the
two comes what `storage.quotas` claims: who holds a staged file may, and then lock a folder.

A driver need not be able to append to or rename what it stores. Unfinished bytes wait in its
`Staging`, which is a folder for files and may be a multipart upload for an object store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol, TypeVar

from storage.buffers import Buffer, HasDescriptor
from storage.drivers.changes import Step

T = TypeVar("T")

# Links, notes and hash states are all far smaller; a driver may read so little inline.
SMALL = 4096
# How much is read or written in one hop to a worker thread.
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What a driver knows of a file: its size in bytes, its last change in ns since 1970.

    No two changes of a file seconds apart have the same `modified_ns`, and so it tells, beside
    when, whether a file was written, replaced or refreshed since.
    """

    size: int
    modified_ns: int

    @property
    def modified(self) -> float:
        """The last change in seconds since 1970."""
        return self.modified_ns / 1e9


class Mark(NamedTuple):
    """What a small file held, and by what its driver notices that it holds something else."""

    path: str
    content: bytes
    state: object


class Entry(NamedTuple):
    """One entry of a folder; a symbolic link to a folder counts as one."""

    name: str
    is_folder: bool


class Lead(Enum):
    """Where the last part of a path leads: it may be a symbolic link, where there are any."""

    ABSENT = "there is nothing"
    HERE = "to itself; a link that leads to itself hides nothing either"
    INSIDE = "to another place that the driver holds"
    OUTSIDE = "to a place that the driver does not hold"
    NOWHERE = "to nothing"


class View(Protocol):
    """Synchronous reads, for a job that makes many of them in one go."""

    def names(self, path: str) -> list[str]:
        """Name the entries of a folder, in no order; nothing when there is no such folder.

        A driver without real folders leaves out empty ones. Names are not checked: another
        program may have put anything there.
        """

    def folders(self, path: str) -> list[str]:
        """Name the folders in a folder, in no order, as `names` does."""

    def entries(self, path: str) -> Iterator[Entry]:
        """Yield the entries of a folder, in no order, as `names` names them.

        They are read as they are asked for, and none is kept: use this for folders of any size.
        What is added or removed meanwhile may be yielded or not; all else is yielded once.
        """

    def entry(self, path: str) -> Entry | None:
        """Return what `entries` of the folder above yields for `path`; None when it is missing."""

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """Read as `Driver.read` does."""

    def stat(self, path: str) -> FileInfo | None:
        """Look as `Driver.stat` does."""

    def modified(self, path: str) -> int | None:
        """Tell when entries of a folder last came or went, in ns; None when it can't be told."""

    def leads(self, path: str) -> Lead:
        """Tell where a path leads: what it was to lead to may be on a disk that is not mounted."""


class Uses(View, Protocol):
    """Reads for who is about to rely on what they find, beside nobody who removes anything."""

    def use(self, path: str) -> FileInfo | None:
        """Look as `stat` does, and have the file's last change be now."""


class Editor(View, Protocol):
    """Reads, removals and moves for who is alone."""

    def remove(self, path: str) -> bool:
        """Remove a file, or a folder with all in it; then folders above that are left empty.

        Returns whether there was anything.
        """

    def remove_empty(self, path: str) -> bool:
        """Remove a folder if nothing is in it, then folders above that are left empty.

        Returns whether it was removed; a driver without real folders has none to remove.
        """

    def move(self, path: str, target: str) -> bool:
        """Have a file, or a folder with all in it, be at `target` and no longer at `path`.

        What was at `target` goes, and so do folders above `path` that are left empty. Returns
        whether there was anything; without, `target` stays as it is. If the two lie on different
        filesystems it is copied after the job, and no more than a warning tells if that fails.
        """


class OpenFile(Protocol):
    """A file open for reading, whose bytes stay readable until it is closed, deleted or not."""

    size: int

    @property
    def file(self) -> HasDescriptor | None:
        """The open file itself, for a kernel to read from; None where there is no such thing."""

    def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `stop`, at most CHUNK at a time."""

    async def close(self) -> None:
        """Let go; calling it twice does nothing."""


class StagedFile(Protocol):
    """Unfinished bytes, held exclusively: no other holder in any process until it is let go."""

    @property
    def length(self) -> int:
        """How many bytes are held."""

    async def append(self, data: Buffer, observe: Callable[[Buffer], None]) -> None:
        """Add `data` at the end, and have `observe` see it on the same worker thread.

        `length` counts it after that. Several calls may be under way, and are done in order.
        On failure nothing of `data` counts as held, and whatever is appended after it fails alike
        until the file is held anew.
        """

    async def truncate(self, length: int) -> None:
        """Forget everything after the first `length` bytes."""

    async def sync(self) -> None:
        """Return when what is held survives a power cut; on failure nothing is held any more."""

    async def replay(self, start: int, observe: Callable[[bytearray], None]) -> None:
        """Have `observe` see what is held from `start` to the end, in order, off the event loop."""

    async def adopt(self, target: str, *then: Step) -> None:
        """Make what is held the content of `target`: durable, atomic, replacing what was there.

        Its last change is now, whenever its bytes came. The steps in `then` follow, as in
        `Driver.publish`, and TimeoutError is raised as there. The staged file is gone afterwards,
        and so is, some time after a power cut, the folder it was created in, with all in it: its
        notes are there until the steps are done.
        """


class Staging(Protocol):
    """Where unfinished bytes wait."""

    async def create(self, path: str, notes: Mapping[str, bytes]) -> None:
        """Begin with zero bytes held, and with `notes` (as `Driver.note`) that are there first.

        `path` must be new, in a folder of its own that the notes are in as well, new too.
        """

    async def length(self, path: str) -> int:
        """Tell how many bytes are held; raise PathNotFound when nothing was created."""

    async def is_held(self, path: str) -> bool:
        """Tell whether somebody holds what is staged, in any process."""

    def open(self, path: str) -> AbstractAsyncContextManager[StagedFile]:
        """Hold what is staged exclusively.

        Raises PathNotFound, or StagingBusy when another holder does not let go soon.
        """

    async def discard(self, path: str) -> None:
        """Remove a session's folder with all in it, or a note; not durable, no error if gone."""


class Held(Protocol):
    """A folder that somebody holds exclusively."""

    def check(self) -> None:
        """Raise PathNotFound unless what is held is still what lies at the path.

        A folder may go while it is held, with a folder above it, and another one take its place,
        which is held by others. For the check of a change: what it finds holds until that is made.
        """


class StagingBusy(Exception):
    """Another holder has the staged file."""


class Driver(Protocol):
    """One place to keep bytes in."""

    @property
    def has_files(self) -> bool:
        """Whether a path is that of a file below a folder, where another program finds it too."""

    @property
    def staging(self) -> Staging:
        """Where unfinished bytes wait."""

    async def read(self, path: str, limit: int = SMALL) -> bytes:
        """Return the whole file, cut after `limit` bytes; raise PathNotFound."""

    def mark(self, path: str) -> Mark | None:
        """Return what is known of a small file; None when nothing is that would show a change.

        Another request may have read it since, so compare what it says with what you have.
        """

    def holds(self, mark: Mark) -> bool:
        """Look, inline, whether a file is there and still holds what it did."""

    async def stat(self, path: str) -> FileInfo | None:
        """Look at a file; None when there is none."""

    async def exists(self, path: str) -> bool:
        """Tell whether there is a file or a folder; a driver may not know of empty folders."""

    async def open(self, path: str) -> OpenFile:
        """Open a file for reading; raise PathNotFound."""

    async def write(self, path: str, content: bytes) -> None:
        """Make `content` the file's: all or nothing for a reader, durable when this returns."""

    async def note(self, path: str, content: bytes) -> None:
        """Write something small that a power cut may take away or damage, and nothing else."""

    async def publish(
        self, *steps: Step, check: Callable[[Uses], None] | None = None
    ) -> tuple[str, ...]:
        """Carry out changes in the order of their steps; all but notes are durable at the end.

        No change is visible, nor survives a power cut, before all changes of the steps before it
        are durable, as far as they ever are. `check` is called first, where it may read; what it
        raises is raised here, and nothing is changed. From before the check until the last change
        is made nobody is in `exclusively`, in any process; the same holds for `StagedFile.adopt`.
        Returns the folders of each `Appear` that found something in its place, and has changed
        nothing there.

        When this fails, the steps up to some point are done, and perhaps a part of the next one.
        A driver that can do no better carries out one change after the other. Raises TimeoutError,
        with nothing done, when somebody is in `exclusively` for too long.
        """

    async def delete(self, path: str, check: Callable[[View], None] | None = None) -> bool:
        """Remove a file, or a folder with all in it, in one instant for a reader; durable.

        `check` is called first, as by `publish`. Returns whether there was anything; if not,
        `settle` makes that durable. Raises TimeoutError as `publish` does.
        """

    async def settle(self, path: str) -> None:
        """Return when it is durable what came and went at a path, in it, and in folders above.

        For who finds something gone that another has removed: he may have failed to sync that.
        """

    async def use(self, path: str) -> FileInfo | None:
        """Look as `stat` does, and have the file's last change be now.

        For somebody who may rely on what he finds: it is done beside nobody in `exclusively`.
        Raises TimeoutError as `publish` does.
        """

    async def exclusively(self, job: Callable[[Editor], T]) -> T:
        """Run `job` while nobody publishes, in any process, and return its result.

        What it removes is gone for readers in the order it removes it, and durably when this
        returns. Everybody who publishes waits, so it must be brief. When the job or the storage
        fails, what was removed so far is. Raises TimeoutError when somebody publishes for ever.
        """

    def claim(self, what: str) -> AbstractAsyncContextManager[None]:
        """Be the only one in any process to do `what`, a word; raise `AlreadyRunning`."""

    def lock(self, path: str) -> AbstractAsyncContextManager[Held]:
        """Hold a folder exclusively among all who lock it, in any process, for a few writes.

        Nobody takes a lock while holding another, but for the tree: who holds a folder or a staged
        file may publish. Raises PathNotFound when there is no such folder, and TimeoutError when
        nobody lets go for very long.
        """

    async def batch(self, job: Callable[[View], T]) -> T:
        """Run `job` where its reads do not hold up the event loop, and return its result."""

    async def close(self) -> None:
        """Let go of threads and connections; the driver is not used afterwards."""
