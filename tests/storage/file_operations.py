"""Observes, refuses and numbers a process's operations on files below a folder.

    with watch(root, before):       `before` is called before each change; if it raises, the
        ...                         change is not made, as on a failing disk

The functions are patched in `os`, where the drivers call them. `os.makedirs` and `shutil.rmtree`
call the same functions. A lock (`flock`) and a hint to the kernel (`sync_file_range`) change no
file and are not observed, nor are bytes that `io` reads from an open file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

# Operations that change the disk, or make changes durable.
CHANGING = frozenset(
    {
        "create",
        "write",
        "truncate",
        "sync",
        "rename",
        "link",
        "unlink",
        "mkdir",
        "rmdir",
        "utime",
    }
)
# Operations that only read; "open" is any open that neither creates nor truncates.
READING = frozenset({"open", "stat", "list", "read"})
KINDS = CHANGING | READING


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a file or folder, with absolute paths."""

    number: int
    """Which one it is of those that were told of, from 0."""
    kind: str
    path: str
    """What it is done to; for an open file the name it was opened by, renames followed."""
    target: str = ""
    """The new name of a rename or a link."""
    offset: int = 0
    """Where bytes are written or read; the new length for "truncate"."""
    data: bytes = b""
    """What is written."""
    flags: int = 0
    """Those of an open."""
    fd: int = -1
    """The open file it is done with, if it is done with one."""

    @property
    def changes(self) -> bool:
        """Whether it changes the disk, or makes changes durable."""
        return self.kind in CHANGING

    def __str__(self) -> str:
        """Return the operation in a line."""
        return f"{self.number}: {self.kind} {self.path} {self.target}".rstrip()


Callback: TypeAlias = Callable[[Operation], None]
_Function: TypeAlias = Callable[..., Any]


@contextmanager
def watch(
    root: Path, before: Callback, after: Callback | None = None, *, reads: bool = False
) -> Iterator[None]:
    """Call `before`, and `after` on success, for each operation on `root` or below it.

    Operations that only read are reported if `reads` is true. An error of `before` is raised in
    place of the operation, which is not made. Operations of all threads are made one at a time, in
    the order of their numbers. Operations of the callbacks are not reported.
    """
    watcher = _Watcher(os.path.abspath(root), before, after, KINDS if reads else CHANGING)
    original = {name: getattr(os, name) for name in _WATCHED}
    try:
        for name, make in _WATCHED.items():
            setattr(os, name, make(watcher, original[name]))
        yield
    finally:
        for name, function in original.items():
            setattr(os, name, function)


@dataclass
class _Watcher:
    root: str
    before: Callback
    after: Callback | None
    kinds: frozenset[str]
    count: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    names: dict[int, str] = field(default_factory=dict)
    """The name of each open file that was opened meanwhile, in or outside of the root."""
    is_telling: bool = False
    """Whether a callback runs; only the thread that holds the lock sees it."""

    def name(self, path: Any, folder: int | None = None) -> str:
        """Return the absolute path that an argument of a function of `os` stands for."""
        if isinstance(path, int):
            return self.names.get(path) or _opened_before(path)
        text = os.fsdecode(path)
        whole = text if folder is None else f"{self.name(folder)}/{text}"
        # `abspath` may block, which some tests forbid on the event loop.
        return os.path.normpath(whole) if whole.startswith("/") else os.path.abspath(whole)

    def carry_out(self, function: Callable[[], Any], kind: str, path: str, **more: Any) -> Any:
        """Carry out an operation, and report it if it is observed."""
        if not self._is_below(path) and not self._is_below(more.get("target", "")):
            return function()
        if kind not in self.kinds or self.is_telling:
            return function()
        operation = Operation(self.count, kind, path, **more)
        self.count += 1
        self._tell(self.before, operation)
        done = function()
        if self.after is not None:
            self._tell(self.after, operation)
        return done

    def follow(self, source: str, target: str) -> None:
        """Record that `source` was renamed to `target`."""
        for fd, name in self.names.items():
            if name == source or name.startswith(f"{source}/"):
                self.names[fd] = target + name.removeprefix(source)

    def _is_below(self, path: str) -> bool:
        return path == self.root or path.startswith(f"{self.root}/")

    def _tell(self, callback: Callback, operation: Operation) -> None:
        self.is_telling = True
        try:
            callback(operation)
        finally:
            self.is_telling = False


def _opened_before(fd: int) -> str:
    """Return the path of a file that was already open; None for a closed descriptor."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _open(watcher: _Watcher, real: _Function) -> _Function:
    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with watcher.lock:
            name = watcher.name(path, dir_fd)
            kind = "create" if flags & (os.O_CREAT | os.O_TRUNC) else "open"
            fd: int = watcher.carry_out(
                lambda: real(path, flags, mode, dir_fd=dir_fd), kind, name, flags=flags
            )
            watcher.names[fd] = name
            return fd

    return open


def _close(watcher: _Watcher, real: _Function) -> _Function:
    def close(fd: int) -> None:
        with watcher.lock:
            watcher.names.pop(fd, None)
            real(fd)

    return close


def _write(watcher: _Watcher, real: _Function) -> _Function:
    def write(fd: int, data: Any) -> int:
        with watcher.lock:
            more = {"fd": fd, "data": bytes(data), "offset": _position(fd)}
            written: int = watcher.carry_out(
                lambda: real(fd, data), "write", watcher.name(fd), **more
            )
            return written

    return write


def _position(fd: int) -> int:
    """Return the offset of the next write; 0 for a file without one, such as a pipe."""
    try:
        return os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return 0


def _pwrite(watcher: _Watcher, real: _Function) -> _Function:
    def pwrite(fd: int, data: Any, offset: int) -> int:
        with watcher.lock:
            more = {"fd": fd, "data": bytes(data), "offset": offset}
            written: int = watcher.carry_out(
                lambda: real(fd, data, offset), "write", watcher.name(fd), **more
            )
            return written

    return pwrite


def _pread(watcher: _Watcher, real: _Function) -> _Function:
    def pread(fd: int, length: int, offset: int) -> bytes:
        with watcher.lock:
            read: bytes = watcher.carry_out(
                lambda: real(fd, length, offset), "read", watcher.name(fd), fd=fd, offset=offset
            )
            return read

    return pread


def _two_names(kind: str) -> Callable[[_Watcher, _Function], _Function]:
    """Wrap a function of an old and a new path."""

    def make(watcher: _Watcher, real: _Function) -> _Function:
        def function(source: Any, target: Any, **options: Any) -> None:
            with watcher.lock:
                old = watcher.name(source, options.get("src_dir_fd"))
                new = watcher.name(target, options.get("dst_dir_fd"))
                watcher.carry_out(lambda: real(source, target, **options), kind, old, target=new)
                if kind == "rename":
                    watcher.follow(old, new)

        return function

    return make


def _one_name(kind: str) -> Callable[[_Watcher, _Function], _Function]:
    """Wrap a function of one path or open file, which may be relative to a folder."""

    def make(watcher: _Watcher, real: _Function) -> _Function:
        def function(path: Any = ".", *others: Any, **options: Any) -> Any:
            with watcher.lock:
                more: dict[str, Any] = {"fd": path} if isinstance(path, int) else {}
                if kind == "truncate":
                    more["offset"] = others[0] if others else options["length"]
                name = watcher.name(path, options.get("dir_fd"))
                return watcher.carry_out(lambda: real(path, *others, **options), kind, name, **more)

        return function

    return make


_WATCHED: dict[str, Callable[[_Watcher, _Function], _Function]] = {
    "open": _open,
    "close": _close,
    "write": _write,
    "pwrite": _pwrite,
    "pread": _pread,
    "rename": _two_names("rename"),
    "replace": _two_names("rename"),
    "link": _two_names("link"),
    "unlink": _one_name("unlink"),
    "remove": _one_name("unlink"),
    "mkdir": _one_name("mkdir"),
    "rmdir": _one_name("rmdir"),
    "truncate": _one_name("truncate"),
    "ftruncate": _one_name("truncate"),
    "fsync": _one_name("sync"),
    "fdatasync": _one_name("sync"),
    "utime": _one_name("utime"),
    "read": _one_name("read"),
    "stat": _one_name("stat"),
    "lstat": _one_name("stat"),
    "fstat": _one_name("stat"),
    "listdir": _one_name("list"),
    "scandir": _one_name("list"),
}
