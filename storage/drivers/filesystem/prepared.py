"""Changes that are written under temporary names, so that one rename publishes each of them.

Everything here blocks. `durable` decides what is synced when, and in which order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.drivers.changes import Change, Put, PutUnsynced, Step
from storage.drivers.filesystem import file_modes
from storage.drivers.filesystem.posix import discard_folder, sync_folder, write_new
from storage.values.paths import TRASH, temporary


class Prepared(Protocol):
    """One change: written, synced, shown. After `drop` it can be written again."""

    @property
    def is_durable(self) -> bool:
        """Whether it must be durable."""

    @property
    def folders(self) -> Sequence[str]:
        """The folders that it creates; they are durable once its own name is."""

    @property
    def target(self) -> str:
        """The path at which readers will find it."""

    def write(self) -> None:
        """Write the change under a temporary name; the parent of `target` exists."""

    def sync(self) -> None:
        """Fsync what was written."""

    def show(self) -> bool:
        """Rename the change into place; return False if it must not replace what is there."""

    def drop(self) -> None:
        """Close descriptors, and remove what was written and not shown; may be called twice."""


class PreparedFile:
    """A file that replaces the one at `target`."""

    folders: Sequence[str] = ()

    def __init__(self, target: str, content: bytes, *, is_durable: bool = True) -> None:
        self.target = target
        self.is_durable = is_durable
        self._content = content
        self._source = ""
        self._fd = -1

    def write(self) -> None:
        self._source = f"{os.path.dirname(self.target)}/{temporary()}"
        self._fd = write_new(self._source, self._content)

    def sync(self) -> None:
        os.fsync(self._fd)

    def show(self) -> bool:
        os.rename(self._source, self.target)
        self._source = ""
        return True

    def drop(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._source:
            with contextlib.suppress(OSError):
                os.unlink(self._source)
            self._source = ""


class PreparedFolder:
    """A folder that appears with its files, unless `target` is in use.

    It is built in `scratch`, where no program looks for tags. If `scratch` is on another
    filesystem, it is built again under a temporary name beside `target`.
    """

    is_durable = True

    def __init__(self, target: str, files: Mapping[str, bytes], scratch: str) -> None:
        self.target = target
        self._files = files
        self._scratch = scratch
        self._source = ""
        self._is_synced = False
        self._fds: list[int] = []

    def write(self) -> None:
        os.makedirs(self._scratch, file_modes.PRIVATE_FOLDER, exist_ok=True)
        self._build(f"{self._scratch}/{uuid.uuid4().hex}")

    def _build(self, source: str) -> None:
        self._source = source
        for below in reversed(self._below()):  # `os.makedirs` sets no mode on intermediate folders
            os.mkdir(f"{self._source}{below}", file_modes.PUBLIC_FOLDER)
        for name, content in self._files.items():
            self._fds.append(write_new(f"{self._source}/{name}", content))

    def sync(self) -> None:
        """Fsync the files, then the folders they are in."""
        for fd in self._fds:
            os.fsync(fd)
        for below in self._below():
            sync_folder(f"{self._source}{below}")
        self._is_synced = True

    def show(self) -> bool:
        try:
            return self._rename()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        self._build_beside()
        return self._rename()

    def _build_beside(self) -> None:
        """Build the folder again, on the filesystem of `target`; fsync it if it was synced."""
        is_synced = self._is_synced
        self.drop()
        self._build(f"{os.path.dirname(self.target)}/{temporary()}")
        if is_synced:
            self.sync()

    def _rename(self) -> bool:
        try:
            os.rename(self._source, self.target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        self._source = ""
        return True

    def drop(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
        if self._source:
            discard_folder(self._source)
            self._source = ""
        self._is_synced = False

    @property
    def folders(self) -> Sequence[str]:
        return [f"{self.target}{below}" for below in self._below()]

    def _below(self) -> list[str]:
        """Return the suffix to the folder's path for it and each subfolder, the deepest first."""
        suffixes = {""}
        for name in self._files:
            while name := os.path.dirname(name):
                suffixes.add(f"/{name}")
        return sorted(suffixes, reverse=True)


class StagedRename:
    """The rename of a complete, durable file at `source`, on the same filesystem as `target`."""

    is_durable = True
    folders: Sequence[str] = ()

    def __init__(self, target: str, source: str) -> None:
        self.target = target
        self._source = source

    def write(self) -> None:
        """Do nothing: the file is complete."""

    def sync(self) -> None:
        """Do nothing: the file is durable."""

    def show(self) -> bool:
        os.rename(self._source, self.target)
        return True

    def drop(self) -> None:
        """Do nothing: the upload session owns the file."""


def prepare(root: str, steps: Sequence[Step]) -> list[list[Prepared]]:
    """Return the changes below `root`, ready to be carried out by `durable.Disk`."""
    return [[_prepare(root, change) for change in step] for step in steps]


def _prepare(root: str, change: Change) -> Prepared:
    path = f"{root}/{change.path}"
    if isinstance(change, Put | PutUnsynced):
        return PreparedFile(path, change.content, is_durable=isinstance(change, Put))
    return PreparedFolder(path, change.files, f"{root}/{TRASH}")
