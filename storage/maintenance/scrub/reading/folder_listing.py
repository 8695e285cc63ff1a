"""Lists folders of the tree, and reports entries that do not belong there.

Such strays are never changed, and what is below them is not read: an operator or another program
may need them, and they do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeVar

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver, Entry, Reader
from storage.errors import DigestInvalid
from storage.maintenance.database import Database
from storage.maintenance.scrub.checks.second_look import look_at_each_exclusively
from storage.maintenance.scrub.findings import Finding, Found, Kind
from storage.maintenance.scrub.reading.strays import Folder, Strays
from storage.maintenance.tolerant_reads import TolerantReader, Trouble, last_change
from storage.values.digest import HEX_LENGTHS, Digest
from storage.values.names import RepositoryName
from storage.values.paths import is_temporary

T = TypeVar("T")

# Seconds. Younger temporary files are being written, older ones were left by a crash.
_IN_PROGRESS = 3600.0
_NS = 10**9
# Strays that are kept in memory before they are added to the database.
_BATCH = 256


class Listing:
    """Lists the expected entries of folders, and adds all others to `strays`.

    `doubtful` are the folders that have strays. In `strays` a folder is its index in this list.
    """

    def __init__(self, reader: Reader, strays: Strays) -> None:
        self.trouble: list[Trouble] = []
        self.doubtful: list[Folder] = []
        self.reader = TolerantReader(reader, self.trouble)
        self._strays = strays

    def each(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()
    ) -> Iterator[str]:
        """Yield the names of our folders in `path`, in no order; all but `files` are strays."""
        folder = Folder(path, is_ours, files)
        others: list[Entry] = []
        for entry in self.reader.entries(path):
            if folder.takes(entry):
                yield entry.name
            elif _is_stray(self.reader, folder, entry):
                others.append(entry)
                if len(others) == _BATCH:
                    self._add_strays(folder, others)
                    others = []
        self._add_strays(folder, others)

    def folders(
        self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()
    ) -> list[str]:
        """Return the same names sorted, for folders whose names fit into memory."""
        return sorted(self.each(path, is_ours, files))

    def check(self, path: str, is_ours: Callable[[str], bool], files: Collection[str] = ()) -> None:
        """Only look for strays in a folder."""
        for _ in self.each(path, is_ours, files):
            pass

    def digests(self, path: str, files: Collection[str] = ()) -> Iterator[Digest]:
        """Yield the digests that have a folder in `path`, in no order; `files` are no strays."""
        for algorithm in self.folders(path, HEX_LENGTHS.__contains__, files):
            for hex in self.each(f"{path}/{algorithm}", partial(is_digest, algorithm)):
                yield Digest(algorithm, hex)

    def _add_strays(self, folder: Folder, others: list[Entry]) -> None:
        if not others:
            return
        if not self.doubtful or self.doubtful[-1] is not folder:
            self.doubtful.append(folder)
        self._strays.add(len(self.doubtful) - 1, others)


class Lister:
    """Runs jobs that list folders, one at a time, and reports what they could not read and strays.

    One at a time, because all of them add strays to one database.
    """

    def __init__(self, driver: Driver, database: Database, found: Found) -> None:
        self._driver = driver
        self._strays = Strays(database)
        self._found = found

    async def run(self, job: Callable[[Listing], T], name: RepositoryName | None = None) -> T:
        """Run `job` with a listing, off the event loop; findings are those of repository `name`."""

        def run(reader: Reader) -> tuple[T, Listing]:
            listing = Listing(reader, self._strays)
            return job(listing), listing

        # A cancelled caller must not close the database while the job writes to it.
        result, listing = await to_completion(self._driver.batch(run))
        for trouble in dict.fromkeys(listing.trouble):
            what = f"it cannot be read: {trouble.reason}"
            self._found(Finding(Kind.UNREADABLE, trouble.path, what, name))
        if listing.doubtful:
            await self._report(listing.doubtful, name)
        return result

    async def _report(self, doubtful: list[Folder], name: RepositoryName | None) -> None:
        """Report the strays that a second look confirms."""
        while taken := await to_completion(self._driver.batch(lambda _: self._strays.take())):
            strays = [(doubtful[number], entry) for number, entry in taken]
            confirmed = await look_at_each_exclusively(self._driver, strays, _is_still_stray)
            for (folder, entry), is_confirmed in zip(strays, confirmed, strict=True):
                if is_confirmed:
                    self._found(_finding(folder, entry, name))


def _is_stray(reader: Reader, folder: Folder, entry: Entry) -> bool:
    """Return whether an entry that is no folder of ours is to be reported."""
    if entry.name in folder.files:
        return False
    if not is_temporary(entry.name):
        return True
    changed = last_change(reader, f"{folder.path}/{entry.name}")
    return changed is not None and time.time() - changed / _NS >= _IN_PROGRESS


def _is_still_stray(reader: Reader, stray: tuple[Folder, Entry]) -> bool:
    """Return whether a stray exists unchanged."""
    folder, entry = stray
    tolerant = TolerantReader(reader, [])
    is_same = tolerant.entry(f"{folder.path}/{entry.name}") == entry
    return is_same and _is_stray(tolerant, folder, entry)


def _finding(folder: Folder, entry: Entry, name: RepositoryName | None) -> Finding:
    path = f"{folder.path}/{entry.name}"
    if is_temporary(entry.name):
        return Finding(Kind.LEFTOVER, path, "a temporary file of an interrupted write", name)
    return Finding(Kind.FOREIGN, path, folder.describe(entry), name)


def is_digest(algorithm: str, hex: str) -> bool:
    """Return whether a folder's name is the hex of a digest."""
    try:
        Digest.parse(f"{algorithm}:{hex}")
    except DigestInvalid:
        return False
    return True
