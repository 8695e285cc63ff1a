"""Rubbish that was found and is to be removed, kept in the database: it may be a million items."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from storage.maintenance.database import Database

SCHEMA = """
-- Paths as bytes: names of folders need not be text.
CREATE TABLE leftover (id INTEGER PRIMARY KEY, path BLOB, unless BLOB);
"""


class Item(NamedTuple):
    """Something to remove; if `unless` names a file that is there by then, it stays."""

    path: str
    unless: str = ""


class Leftovers:
    """A queue of items."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, items: Iterable[Item]) -> None:
        """Put items at the end of the queue."""
        rows = ((os.fsencode(one.path), os.fsencode(one.unless)) for one in items)
        self._db.many("INSERT INTO leftover (path, unless) VALUES (?, ?)", rows)

    def take(self, limit: int) -> list[Item]:
        """Take as many items from the beginning of the queue, or all that there are."""
        query = "SELECT id, path, unless FROM leftover ORDER BY id LIMIT ?"
        some = self._db.execute(query, limit).fetchall()
        if some:
            self._db.execute("DELETE FROM leftover WHERE id <= ?", some[-1][0])
        return [Item(os.fsdecode(path), os.fsdecode(unless)) for _, path, unless in some]
