"""Folders of the tree, and what is in them that does not belong there.

Such things are reported and never touched, nor is anything below them looked at: they are
somebody's, and do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeVar

from storage.concurrency import to_completion
from storage.digest import HEX_LENGTHS, Digest
from storage.drivers.base import Driver, Entry, View
from storage.errors import DigestInvalid
from storage.maintenance.database import Database
from storage.maintenance.last_change import last_change
from storage.maintenance.scrub.findings import Finding, Kind
from storage.maintenance.scrub.second_look import each_undisturbed
from storage.maintenance.scrub.strays import Folder, Strays
from storage.maintenance.tolerant import TolerantView, Trouble
from storage.names import RepositoryName
from storage.paths import is_temporary

T = TypeVar("T")

# Seconds; what is temporary and younger is under way, what is older was left by a machine that
# stopped.
_UNDER_WAY = 3600.0
_NS = 10**9
# Strays of a folder that are held until the database is given them.
_MOST_HELD = 256


class Listing:
    """Names what should be in folders, and adds all else to `strays`.

    `doubtful` are the folders that have strays, by whose place in it these are numbered.
    """

    def __init__(self, view: View, strays: Strays) -> None:
        self.trouble: list[Trouble] = []
        self.doubtful: list[Folder] = []
        self.view = TolerantView(view, self.trouble)
        self._strays = strays

    def each(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()
    ) -> Iterator[str]:
        """Name the folders in `path` that are ours, in no order; other than `files` are strays."""
        folder = Folder(path, is_ours, files)
        others: list[Entry] = []
        for entry in self.view.entries(path):
            if folder.takes(entry):
                yield entry.name
            elif _is_stray(self.view, folder, entry):
                others.append(entry)
                if len(others) == _MOST_HELD:
                    self._doubt(folder, others)
                    others = []
        self._doubt(folder, others)

    def folders(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()
    ) -> list[str]:
        """Name the same in order: for folders of which all names can be held."""
        return sorted(self.each(path, is_ours, files))

    def check(self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()) -> None:
        """Look for strays in a folder."""
        for _ in self.each(path, is_ours, files):
            pass

    def digests(self, path: str, files: Collection[str] = ()) -> Iterator[Digest]:
        """Yield the digests that `path`, where `files` may be, has a folder for, in no order."""
        for algorithm in self.folders(path, HEX_LENGTHS.__contains__, files):
            for hex in self.each(f"{path}/{algorithm}", partial(is_digest, algorithm)):
                yield Digest(algorithm, hex)

    def _doubt(self, folder: Folder, others: list[Entry]) -> None:
        if not others:
            return
        if not self.doubtful or self.doubtful[-1] is not folder:
            self.doubtful.append(folder)
        self._strays.add(len(self.doubtful) - 1, others)


class Lister:
    """Has jobs list folders, and reports what they find in passing.

    One job at a time, for all of them put strays into one database.
    """

    def __init__(
        self, driver: Driver, database: Database, found: Callable[[Finding], None]
    ) -> None:
        self._driver = driver
        self._strays = Strays(database)
        self._found = found

    async def run(self, job: Callable[[Listing], T], name: RepositoryName | None = None) -> T:
        """Run `job` with a listing, off the event loop; what it finds is of the repository."""

        def run(view: View) -> tuple[T, Listing]:
            listing = Listing(view, self._strays)
            return job(listing), listing

        # A cancelled caller would go on, and close the database that the job writes to.
        result, listing = await to_completion(self._driver.batch(run))
        for one in dict.fromkeys(listing.trouble):
            what = f"it can't be read: {one.reason}"
            self._found(Finding(Kind.UNREADABLE, one.path, what, name))
        if listing.doubtful:
            await self._report(listing.doubtful, name)
        return result

    async def _report(self, doubtful: list[Folder], name: RepositoryName | None) -> None:
        """Report those strays that a second look finds as well."""
        while taken := await to_completion(self._driver.batch(lambda _: self._strays.take())):
            some = [(doubtful[number], entry) for number, entry in taken]
            again = await each_undisturbed(self._driver, some, _is_still)
            for (folder, entry), is_still in zip(some, again, strict=True):
                if is_still:
                    self._found(_finding(folder, entry, name))


def _is_stray(view: View, folder: Folder, entry: Entry) -> bool:
    """Tell whether what is no folder of ours is worth reporting."""
    if entry.name in folder.files:
        return False
    if not is_temporary(entry.name):
        return True
    changed = last_change(view, f"{folder.path}/{entry.name}")
    return changed is not None and time.time() - changed / _NS >= _UNDER_WAY


def _is_still(view: View, stray: tuple[Folder, Entry]) -> bool:
    """Tell whether a stray is what it was."""
    folder, entry = stray
    tolerant = TolerantView(view, [])
    is_same = tolerant.entry(f"{folder.path}/{entry.name}") == entry
    return is_same and _is_stray(tolerant, folder, entry)


def _finding(folder: Folder, entry: Entry, name: RepositoryName | None) -> Finding:
    path = f"{folder.path}/{entry.name}"
    if is_temporary(entry.name):
        return Finding(Kind.LEFTOVER, path, "a write that was cut off left this", name)
    return Finding(Kind.FOREIGN, path, folder.describe(entry), name)


def is_digest(algorithm: str, hex: str) -> bool:
    """Tell whether a folder's name is the hex of a digest."""
    try:
        Digest.parse(f"{algorithm}:{hex}")
    except DigestInvalid:
        return False
    return True
