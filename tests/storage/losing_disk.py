"""A disk that loses what was not synced: a log of what was done to it, and what a power cut leaves.

The log is of inodes, not of paths: a file is the bytes it held after each change, a folder is the
changes of its names. Between the operations stand the marks of whoever worked (`Mark`): what was
begun, and what was acknowledged.

What is durable. An fsync of a file makes the bytes it holds durable, its length and its times, and
not its name. An fsync of a folder makes the names durable that came and went in it before, and not
what is below. Nothing else makes anything durable, although most filesystems do far more: an
fsync on ext4 writes down every change of a name that was made before it, anywhere.

What a power cut may do to all that is not durable:

- A file may hold what it held after any of its changes since, down to what is durable, and of the
  last of these a part. New bytes may be missing, so that the file is shorter or empty; or be zeros,
  wholly or behind a part, so that the length is right: that is what ext4 and XFS leave where the
  space for bytes is taken later than they are written.
- A folder loses changes of names from the end: those that are left are the first so many. A rename
  within a folder is one change, and happens wholly or not at all.
- Folders do so independently of each other. A file or folder that was renamed from one to another
  may thus be found in both, or in neither: stricter than any filesystem with a journal, which is
  one of the cases of it, as it loses changes of all folders together from the end.
- A folder whose own name is lost takes all below with it, durable or not.

So what may be left after some operations may also be left after some more, if none of these is an
fsync: the change that came last may be lost. New states come with each change, and what was
allowed before is ruled out by an fsync alone. It is enough to look for losses where an fsync
follows, where something was acknowledged, and at the end.

It is not modelled that bytes of one sector are torn, that a disk acknowledges a flush and lies, or
that durable bytes rot.
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
    """What a file holds, and when that last changed, in ns since 1970; 0 where nobody asks."""

    data: bytes = b""
    modified: int = 0


@dataclass(frozen=True, slots=True)
class Made:
    """A file or folder is there, without a name as yet; it is to be `path`, below the root."""

    node: int
    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Named:
    """Names of a folder come to mean something else, or nothing, in one instant."""

    folder: int
    names: tuple[tuple[str, int | None], ...]
    modified: int = 0


@dataclass(frozen=True, slots=True)
class Filled:
    """A file holds something else."""

    node: int
    content: Content


@dataclass(frozen=True, slots=True)
class Synced:
    """An fsync of a file or folder, which was called `path` (below the root) then."""

    node: int
    path: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Whoever works on the disk has begun step `step` of its work, or acknowledged it."""

    step: int
    is_done: bool


Event: TypeAlias = Made | Named | Filled | Synced | Mark


@dataclass(slots=True)
class Recorder:
    """Writes a log of the operations below `root`, an empty folder; give `after` to `watch`."""

    root: Path
    log: list[Event] = field(default_factory=list)
    _names: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    _held: dict[int, bytes] = field(default_factory=dict)
    _inodes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with the root."""
        self._inodes[self.root.stat().st_ino] = ROOT

    def after(self, operation: Operation) -> None:
        """Take note of an operation that succeeded."""
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
        """Change what names mean, those of one folder in one instant."""
        changes: dict[int, list[tuple[str, int | None]]] = {}
        for path, node in names:
            folder, name = self._place(path)
            changes.setdefault(folder, []).append((name, node))
            _set(self._names[folder], name, node)
        parents = [os.path.dirname(path) for path, _ in names]
        for parent, (folder, changed) in zip(dict.fromkeys(parents), changes.items(), strict=True):
            self.log.append(Named(folder, tuple(changed), os.stat(parent).st_mtime_ns))

    def _node(self, operation: Operation) -> int:
        """Return what an operation is done to: the open file itself, whatever its name is now."""
        if operation.fd >= 0:
            return self._inodes[os.fstat(operation.fd).st_ino]
        folder, name = self._place(operation.path)
        return self._names[folder][name] if name else ROOT

    def _place(self, path: str) -> tuple[int, str]:
        """Return the folder that has a path's last name, and that name."""
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
    """What of a file is durable, and all it held since."""

    durable: Content = Content()
    since: list[Content] = field(default_factory=list)

    @property
    def now(self) -> Content:
        """What it holds while the power is on."""
        return self.since[-1] if self.since else self.durable


@dataclass(slots=True)
class Folder:
    """Which names of a folder are durable, and all changes since; it was made as `path`."""

    path: str = ""
    durable: dict[str, int] = field(default_factory=dict)
    modified: int = 0
    since: list[Named] = field(default_factory=list)

    def after(self, changes: int) -> tuple[dict[str, int], int]:
        """Return the names, and the time of the last change, if so many changes are not lost."""
        names, modified = dict(self.durable), self.modified
        for change in self.since[:changes]:
            modified = change.modified
            for name, node in change.names:
                _set(names, name, node)
        return names, modified


@dataclass(slots=True)
class Disk:
    """What is on a disk and what of it is durable, after a part of a log."""

    files: dict[int, File] = field(default_factory=dict)
    folders: dict[int, Folder] = field(default_factory=lambda: {ROOT: Folder()})

    def apply(self, event: Event) -> None:
        """Carry out the next event of a log."""
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
        """Tell whether an fsync makes bytes or names durable that are not yet."""
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
