"""Changes that are written down whole, away from readers: one rename makes each of them visible.

Everything here blocks. `durable` decides what is synced when, and in which order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.drivers import modes
from storage.drivers.changes import Change, Note, Put, Step
from storage.drivers.posix import discard_folder, sync_folder, write_new
from storage.paths import TRASH, temporary


class Prepared(Protocol):
    """One change. Each step may be repeated after `drop`."""

    @property
    def is_lasting(self) -> bool:
        """Whether it is to survive a power cut."""

    @property
    def folders(self) -> Sequence[str]:
        """The paths of the folders that come with it, durable once its own name is."""

    @property
    def target(self) -> str:
        """The path at which readers will find it."""

    def write(self) -> None:
        """Write it down; the folder of `target` exists."""

    def sync(self) -> None:
        """Return when what was written survives a power cut."""

    def show(self) -> bool:
        """Make it visible; False when something is there that it must not replace."""

    def drop(self) -> None:
        """Remove what was written and is not visible; nothing to remove is fine."""


class PreparedFile:
    """A file that replaces the one at `target`."""

    folders: Sequence[str] = ()

    def __init__(self, target: str, content: bytes, *, is_lasting: bool = True) -> None:
        self.target = target
        self.is_lasting = is_lasting
        self._content = content
        self._source = ""
        self._fd = -1

    def write(self) -> None:
        """Write a temporary file in the same folder."""
        self._source = f"{os.path.dirname(self.target)}/{temporary()}"
        self._fd = write_new(self._source, self._content)

    def sync(self) -> None:
        """Sync the file."""
        os.fsync(self._fd)

    def show(self) -> bool:
        """Rename the file."""
        os.rename(self._source, self.target)
        self._source = ""
        return True

    def drop(self) -> None:
        """Close the file, and remove it if it was not renamed."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._source:
            with contextlib.suppress(OSError):
                os.unlink(self._source)
            self._source = ""


class PreparedFolder:
    """A folder that appears with all in it, unless something is there already.

    It is put together in `scratch`, where no program looks for tags. If `scratch` is on another
    filesystem, it is put together again under a temporary name beside `target`.
    """

    is_lasting = True

    def __init__(self, target: str, files: Mapping[str, bytes], scratch: str) -> None:
        self.target = target
        self._files = files
        self._scratch = scratch
        self._source = ""
        self._is_synced = False
        self._fds: list[int] = []

    def write(self) -> None:
        """Put the folder together in the scratch folder."""
        os.makedirs(self._scratch, modes.PRIVATE_FOLDER, exist_ok=True)
        self._put_together(f"{self._scratch}/{uuid.uuid4().hex}")

    def _put_together(self, source: str) -> None:
        self._source = source
        for below in reversed(self._below()):  # `os.makedirs` has no mode for what is between
            os.mkdir(f"{self._source}{below}", modes.PUBLIC_FOLDER)
        for name, content in self._files.items():
            self._fds.append(write_new(f"{self._source}/{name}", content))

    def sync(self) -> None:
        """Sync the files, then the folders they are in."""
        for fd in self._fds:
            os.fsync(fd)
        for below in self._below():
            sync_folder(f"{self._source}{below}")
        self._is_synced = True

    def show(self) -> bool:
        """Rename the folder."""
        try:
            return self._rename()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        self._put_beside()
        return self._rename()

    def _put_beside(self) -> None:
        """Put the folder together again, on the filesystem of `target`, as durable as it was."""
        is_synced = self._is_synced
        self.drop()
        self._put_together(f"{os.path.dirname(self.target)}/{temporary()}")
        if is_synced:
            self.sync()

    def _rename(self) -> bool:
        """Rename the folder; False when something is there that it must not replace."""
        try:
            os.rename(self._source, self.target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        self._source = ""
        return True

    def drop(self) -> None:
        """Close the files, and remove them if they were not renamed."""
        while self._fds:
            os.close(self._fds.pop())
        if self._source:
            discard_folder(self._source)
            self._source = ""
        self._is_synced = False

    @property
    def folders(self) -> Sequence[str]:
        """The folder, and all in it."""
        return [f"{self.target}{below}" for below in self._below()]

    def _below(self) -> list[str]:
        """Return what is behind its path for each folder, each before the one it is in."""
        made = {""}
        for name in self._files:
            while name := os.path.dirname(name):
                made.add(f"/{name}")
        return sorted(made, reverse=True)


class HeldData:
    """A complete file that is durable, and lies elsewhere on the same filesystem as `source`."""

    is_lasting = True
    folders: Sequence[str] = ()

    def __init__(self, target: str, source: str) -> None:
        self.target = target
        self._source = source

    def write(self) -> None:
        """It is written."""

    def sync(self) -> None:
        """It is synced."""

    def show(self) -> bool:
        """Rename the file."""
        os.rename(self._source, self.target)
        return True

    def drop(self) -> None:
        """It is not ours to remove."""


def prepare(root: str, steps: Sequence[Step]) -> list[list[Prepared]]:
    """Return how to carry out changes below `root`."""
    return [[_prepare(root, change) for change in step] for step in steps]


def _prepare(root: str, change: Change) -> Prepared:
    path = f"{root}/{change.path}"
    if isinstance(change, Put | Note):
        return PreparedFile(path, change.content, is_lasting=isinstance(change, Put))
    return PreparedFolder(path, change.files, f"{root}/{TRASH}")
