"""Entries of folders that seem not to belong there: none, or a million.

They are kept in a database until a second look confirms them (`checks/second_look.py`).
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
_PAGE = 256


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the tree. Expected in it are the folders that `is_ours` accepts, and `files`."""

    path: str
    is_ours: Callable[[str], bool]
    files: Collection[str] = ()

    def takes(self, entry: Entry) -> bool:
        """Return whether an entry is an expected folder."""
        return entry.is_folder and self.is_ours(entry.name)

    def describe(self, entry: Entry) -> str:
        """Return what is wrong with an unexpected entry."""
        if self.is_ours(entry.name):
            return "not a folder, but a folder is expected here"
        return f"a {'folder' if entry.is_folder else 'file'} that no registry created"


class Strays:
    """Suspected strays, by the number of their folder. Calls block. Make one call at a time."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def add(self, folder: int, entries: Iterable[Entry]) -> None:
        rows = ((folder, os.fsencode(entry.name), entry.is_folder) for entry in entries)
        self._db.many(_ADD, rows)

    def take(self) -> list[tuple[int, Entry]]:
        """Remove and return the first page, in order; an empty one at the end."""
        rows = self._db.execute(_FIRST, _PAGE).fetchall()
        if rows:
            self._db.execute("DELETE FROM stray WHERE (folder, name) <= (?, ?)", *rows[-1][:2])
        return [(folder, Entry(os.fsdecode(name), bool(kind))) for folder, name, kind in rows]
