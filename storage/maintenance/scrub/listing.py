"""Folders of the tree, and what is in them that does not belong there.

Such things are reported and never touched, nor is anything below them looked at: they are
somebody's, and do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, View
from storage.errors import DigestInvalid
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.second_look import undisturbed
from storage.maintenance.tolerant import TolerantView, Trouble
from storage.names import RepositoryName
from storage.paths import is_temporary

T = TypeVar("T")

# Seconds; a younger temporary file is under way, an older one was left by a machine that stopped.
_UNDER_WAY = 3600.0
# Folders that are listed again under one exclusive tree lock.
_AT_ONCE = 100


class _Doubtful(NamedTuple):
    """What seems to be stray in the folder `path`; another process may be changing it."""

    path: str
    is_ours: Callable[[str], bool]
    files: Collection[str]
    strays: frozenset[tuple[str, str]]


class Listing:
    """Names what should be in folders, and collects findings about all else."""

    def __init__(self, view: View, name: RepositoryName | None = None) -> None:
        self._trouble: list[Trouble] = []
        self._name = name
        self.doubtful: list[_Doubtful] = []
        self.view = TolerantView(view, self._trouble)

    @property
    def unreadable(self) -> list[Finding]:
        """A finding for each path that could not be read so far."""
        unread = dict.fromkeys(self._trouble)
        return [
            Finding(Kind.UNREADABLE, one.path, f"it can't be read: {one.reason}", self._name)
            for one in unread
        ]

    def folders(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()
    ) -> list[str]:
        """Name the folders in `path` that are ours, in order; other than `files` are strays."""
        folders, others = self._sorted(path, is_ours, files)
        strays = frozenset(one for one in others if self._stray(path, *one))
        if strays:
            self.doubtful.append(_Doubtful(path, is_ours, files, strays))
        return folders

    def strays(self, doubtful: Iterable[_Doubtful]) -> list[Finding]:
        """Report those strays that still are what they were when they were listed."""
        found = []
        for one in doubtful:
            strays = one.strays & self._sorted(one.path, one.is_ours, one.files)[1]
            found += [self._stray(one.path, *stray) for stray in sorted(strays)]
        return [finding for finding in found if finding is not None]

    def digests(
        self, path: str, files: Collection[str] = (), skip: Collection[str] = ()
    ) -> Iterator[Digest]:
        """Yield the digests that `path` has a folder for, in order.

        `files` may be in those folders; folders named in `skip` may be there as well.
        """
        for algorithm in self.folders(path, HEX_LENGTHS.__contains__):
            below = f"{path}/{algorithm}"
            for hex in self.folders(below, partial(is_digest, algorithm)):
                self.folders(f"{below}/{hex}", skip.__contains__, files)
                yield Digest(algorithm, hex)

    def _sorted(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str]
    ) -> tuple[list[str], set[tuple[str, str]]]:
        """Return the folders that are ours, and all strays with what they are."""
        names, folders = self.view.names(path), frozenset(self.view.folders(path))
        ours: list[str] = []
        others: list[str] = []
        for name in sorted(names):
            if name in folders and is_ours(name):
                ours.append(name)
            elif name not in files:
                others.append(name)
        return ours, {(one, _described(one, one in folders, is_ours(one))) for one in others}

    def _stray(self, path: str, name: str, what: str) -> Finding | None:
        whole = f"{path}/{name}"
        if not is_temporary(name):
            return Finding(Kind.FOREIGN, whole, what, self._name)
        found = self.view.stat(whole)
        if found is None or time.time() - found.modified < _UNDER_WAY:
            return None
        return Finding(Kind.LEFTOVER, whole, "a write that was cut off left this", self._name)


async def listed(
    driver: Driver,
    found: Callable[[Finding], None],
    job: Callable[[Listing], T],
    name: RepositoryName | None = None,
) -> T:
    """Run `job` with a listing, off the event loop, and report what it found in passing."""

    def run(view: View) -> tuple[T, Listing]:
        listing = Listing(view, name)
        return job(listing), listing

    result, listing = await driver.batch(run)
    findings = listing.unreadable
    for start in range(0, len(listing.doubtful), _AT_ONCE):
        some = listing.doubtful[start : start + _AT_ONCE]
        look = partial(_strays, name, some)
        findings += await undisturbed(driver, look)
    for finding in findings:
        found(finding)
    return result


def _strays(name: RepositoryName | None, some: Iterable[_Doubtful], view: View) -> list[Finding]:
    return Listing(view, name).strays(some)


def _described(name: str, is_folder: bool, should_be_folder: bool) -> str:
    if should_be_folder:
        return "no folder, and where a folder belongs"
    return f"a {'folder' if is_folder else 'file'} that no registry put here"


def is_digest(algorithm: str, hex: str) -> bool:
    """Tell whether a folder's name is the hex of a digest."""
    try:
        Digest.parse(f"{algorithm}:{hex}")
    except DigestInvalid:
        return False
    return True
