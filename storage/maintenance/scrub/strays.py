"""What lies in folders and seems not to belong there: nothing, or a million files.

It is kept on disk until it is looked at again (`second_look`) and reported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from storage.drivers.base import Entry
from storage.maintenance.database import Database

SCHEMA = """
-- Folders are numbered by the listing.
CREATE TABLE stray (
    folder INTEGER, name BLOB, is_folder INTEGER, PRIMARY KEY (folder, name)
) WITHOUT ROWID;
"""
_ADD = "INSERT OR IGNORE INTO stray (folder, name, is_folder) VALUES (?, ?, ?)"
_FIRST = "SELECT folder, name, is_folder FROM stray ORDER BY folder, name LIMIT ?"
# Taken at once.
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the tree, and what belongs there: folders that are ours, and `files`."""

    path: str
    is_ours: Callable[[str], bool]
    files: Collection[str] = ()

    def takes(self, entry: Entry) -> bool:
        """Tell whether an entry is a folder that is ours."""
        return entry.is_folder and self.is_ours(entry.name)

    def describe(self, entry: Entry) -> str:
        """Say what is wrong with an entry that does not belong here."""
        if self.is_ours(entry.name):
            return "no folder, and where a folder belongs"
        return f"a {'folder' if entry.is_folder else 'file'} that no registry put here"


class Strays:
    """What seems to be stray, by the number of its folder. Calls block, and come one at a time."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, folder: int, entries: Iterable[Entry]) -> None:
        """Add what a first look found."""
        rows = ((folder, os.fsencode(one.name), one.is_folder) for one in entries)
        self._db.many(_ADD, rows)

    def take(self) -> list[tuple[int, Entry]]:
        """Remove and return the first, in order; none at the end."""
        rows = self._db.execute(_FIRST, _AT_ONCE).fetchall()
        if rows:
            self._db.execute("DELETE FROM stray WHERE (folder, name) <= (?, ?)", *rows[-1][:2])
        return [(folder, Entry(os.fsdecode(name), bool(kind))) for folder, name, kind in rows]
