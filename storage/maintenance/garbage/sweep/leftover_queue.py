"""Leftovers that are to be removed, queued in the database: there may be a million."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from storage.maintenance.database import Database

SCHEMA = """
-- Paths as bytes: names of folders need not be text.
CREATE TABLE leftover (id INTEGER PRIMARY KEY, path BLOB, unless BLOB);
"""


class Leftover(NamedTuple):
    """A path to remove; it is kept if a file named by `unless` exists by then."""

    path: str
    unless: str = ""


class LeftoverQueue:
    """A queue of leftovers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, leftovers: Iterable[Leftover]) -> None:
        """Append to the queue."""
        rows = ((os.fsencode(path), os.fsencode(unless)) for path, unless in leftovers)
        self._db.many("INSERT INTO leftover (path, unless) VALUES (?, ?)", rows)

    def take(self, limit: int) -> list[Leftover]:
        """Remove up to `limit` leftovers from the front of the queue and return them."""
        query = "SELECT id, path, unless FROM leftover ORDER BY id LIMIT ?"
        rows = self._db.execute(query, limit).fetchall()
        if rows:
            self._db.execute("DELETE FROM leftover WHERE id <= ?", rows[-1][0])
        return [Leftover(os.fsdecode(path), os.fsdecode(unless)) for _, path, unless in rows]
