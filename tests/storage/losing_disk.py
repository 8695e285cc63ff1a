"""A disk that loses what was not synced: a log of its changes, and what a power failure leaves.

The log is of inodes, not of paths: a file is its content after each change, a folder is the changes
of its names. Between the operations are the marks of the worker (`Mark`): which step was begun, and
which was acknowledged.

What is durable: an fsync of a file makes its bytes, length and times durable, but not its name. An
fsync of a folder makes the earlier additions and removals of names durable, but nothing below it.
Nothing else makes anything durable, although most filesystems do far more: on ext4 an fsync makes
all earlier changes of names durable, anywhere.

What a power failure may do to everything that is not durable:

- A file may have the content after any of its later changes, back to the durable content, and of
  the last change only a part. New bytes may be missing, so that the file is shorter or empty; or be
  zeros, all of them or from some offset on, so that the length is right: that is what ext4 and XFS
  leave where space is allocated later than the bytes are written.
- A folder loses changes of names from the end: a first part of them is left. A rename within a
  folder is one change, and happens completely or not at all.
- Folders lose changes independently of each other. A file or folder that was renamed from one to
  another may thus be found in both, or in neither. This is stricter than any filesystem with a
  journal, which loses changes of all folders together from the end: that is one of the cases.
- A folder whose own name is lost is lost with everything below, durable or not.

So a state that may be left after some operations may also be left after more of them, unless one is
an fsync: the last changes may be lost. Each change adds new states, and only an fsync rules out
earlier ones. It is enough to check losses before each fsync, at each acknowledgement, and at the
end.

The model does not include torn sectors, disks that acknowledge a flush and lie, or durable bytes
that rot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.storage.file_operations import Operation

ROOT = 0


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content and mtime in ns since 1970, 0 where the mtime does not matter."""

    data: bytes = b""
    modified: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A file or folder is created, without a name yet; it is to be `path`, below the root."""

    node: int
    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Named:
    """Names of a folder change atomically: they refer to other nodes, or to none."""

    folder: int
    names: tuple[tuple[str, int | None], ...]
    modified: int = 0


@dataclass(frozen=True, slots=True)
class Filled:
    """A file's content changes."""

    node: int
    content: Content


@dataclass(frozen=True, slots=True)
class Synced:
    """An fsync of a file or folder, which was called `path` (below the root) then."""

    node: int
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The worker has begun step `step` of its work, or acknowledged it."""

    step: int
    is_done: bool


Event: TypeAlias = Made | Named | Filled | Synced | Mark


@dataclass(slots=True)
class Recorder:
    """Records the operations below `root`, an empty folder; pass `after` to `watch`."""

    root: Path
    log: list[Event] = field(default_factory=list)
    _names: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    _held: dict[int, bytes] = field(default_factory=dict)
    _inodes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the root."""
        self._inodes[self.root.stat().st_ino] = ROOT

    def after(self, operation: Operation) -> None:
        """Record an operation that succeeded."""
        _NOTE[operation.kind](self, operation)

    def _create(self, operation: Operation) -> None:
        folder, name = self._place(operation.path)
        known = self._names[folder].get(name)
        if known is None:
            self._held[self._make(operation.path, is_folder=False)] = b""
        elif operation.flags & os.O_TRUNC:
            self._fill(operation, known, b"")

    def _mkdir(self, operation: Operation) -> None:
        self._names[self._make(operation.path, is_folder=True)] = {}

    def _make(self, path: str, *, is_folder: bool) -> int:
        node = len(self._names) + len(self._held)
        self._inodes[os.lstat(path).st_ino] = node
        self.log.append(Made(node, self._below(path), is_folder))
        self._name((path, node))
        return node

    def _write(self, operation: Operation) -> None:
        node = self._node(operation)
        held, at = self._held[node], operation.offset
        whole = held[:at].ljust(at, b"\0") + operation.data + held[at + len(operation.data) :]
        self._fill(operation, node, whole)

    def _truncate(self, operation: Operation) -> None:
        node, length = self._node(operation), operation.offset
        self._fill(operation, node, self._held[node][:length].ljust(length, b"\0"))

    def _touch(self, operation: Operation) -> None:
        node = self._node(operation)
        if node in self._held:
            self._fill(operation, node, self._held[node])

    def _fill(self, operation: Operation, node: int, data: bytes) -> None:
        at = operation.fd if operation.fd >= 0 else operation.path
        self._held[node] = data
        self.log.append(Filled(node, Content(data, os.stat(at).st_mtime_ns)))

    def _sync(self, operation: Operation) -> None:
        self.log.append(Synced(self._node(operation), self._below(operation.path)))

    def _rename(self, operation: Operation) -> None:
        node = self._node(operation)
        self._name((operation.target, node), (operation.path, None))

    def _link(self, operation: Operation) -> None:
        self._name((operation.target, self._node(operation)))

    def _remove(self, operation: Operation) -> None:
        self._name((operation.path, None))

    def _name(self, *names: tuple[str, int | None]) -> None:
        """Change names of one folder atomically."""
        changes: dict[int, list[tuple[str, int | None]]] = {}
        for path, node in names:
            folder, name = self._place(path)
            changes.setdefault(folder, []).append((name, node))
            _set(self._names[folder], name, node)
        parents = [os.path.dirname(path) for path, _ in names]
        for parent, (folder, changed) in zip(dict.fromkeys(parents), changes.items(), strict=True):
            self.log.append(Named(folder, tuple(changed), os.stat(parent).st_mtime_ns))

    def _node(self, operation: Operation) -> int:
        """Return the node that an operation changes: of an open file, whatever its name is now."""
        if operation.fd >= 0:
            return self._inodes[os.fstat(operation.fd).st_ino]
        folder, name = self._place(operation.path)
        return self._names[folder][name] if name else ROOT

    def _place(self, path: str) -> tuple[int, str]:
        """Return the folder that contains a path's last name, and that name."""
        *above, name = self._below(path).split("/")
        folder = ROOT
        for part in above:
            folder = self._names[folder][part]
        return folder, name

    def _below(self, path: str) -> str:
        assert path == str(self.root) or path.startswith(f"{self.root}/"), f"{path} is elsewhere"
        return path.removeprefix(str(self.root)).lstrip("/")


_NOTE: Mapping[str, Callable[[Recorder, Operation], None]] = {
    "create": Recorder._create,
    "write": Recorder._write,
    "truncate": Recorder._truncate,
    "sync": Recorder._sync,
    "rename": Recorder._rename,
    "link": Recorder._link,
    "unlink": Recorder._remove,
    "mkdir": Recorder._mkdir,
    "rmdir": Recorder._remove,
    "utime": Recorder._touch,
}


@dataclass(slots=True)
class File:
    """The durable content of a file, and all its later contents."""

    durable: Content = Content()
    since: list[Content] = field(default_factory=list)

    @property
    def now(self) -> Content:
        """The content while the power is on."""
        return self.since[-1] if self.since else self.durable


@dataclass(slots=True)
class Folder:
    """The durable names of a folder, and all later changes; it was created as `path`."""

    path: str = ""
    durable: dict[str, int] = field(default_factory=dict)
    modified: int = 0
    since: list[Named] = field(default_factory=list)

    def after(self, changes: int) -> tuple[dict[str, int], int]:
        """Return the names and the mtime if this number of changes is not lost."""
        names, modified = dict(self.durable), self.modified
        for change in self.since[:changes]:
            modified = change.modified
            for name, node in change.names:
                _set(names, name, node)
        return names, modified


@dataclass(slots=True)
class Disk:
    """The state of a disk, durable and not, after a part of a log."""

    files: dict[int, File] = field(default_factory=dict)
    folders: dict[int, Folder] = field(default_factory=lambda: {ROOT: Folder()})

    def apply(self, event: Event) -> None:
        """Apply the next event of a log."""
        if isinstance(event, Made):
            if event.is_folder:
                self.folders[event.node] = Folder(event.path)
            else:
                self.files[event.node] = File()
        elif isinstance(event, Named):
            self.folders[event.folder].since.append(event)
        elif isinstance(event, Filled):
            self.files[event.node].since.append(event.content)
        elif isinstance(event, Synced):
            self._sync(event.node)

    def would_change(self, event: Synced) -> bool:
        """Return whether an fsync would make any bytes or names durable."""
        if event.node in self.files:
            file = self.files[event.node]
            return any(content.data != file.durable.data for content in file.since)
        return bool(self.folders[event.node].since)

    def _sync(self, node: int) -> None:
        if node in self.files:
            self.files[node] = File(self.files[node].now)
        else:
            folder = self.folders[node]
            self.folders[node] = Folder(folder.path, *folder.after(len(folder.since)))


def _set(names: dict[str, int], name: str, node: int | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node
