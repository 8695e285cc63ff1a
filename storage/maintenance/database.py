"""The private database of long work, which spills to disk what exceeds its cache.

With an empty name SQLite uses a temporary file. It writes that file only once its cache is full,
and deletes it when it is closed: small registries never touch the disk. The database stays in
memory where no temporary folder can be written to, as in a container with a read-only root
filesystem, and while the folder's disk is full, so that a full disk can be collected. A million
blobs take about 150 MB.

All changes are one transaction, never rolled back. The cost of a commit grows with the cache, not
with what was changed, and there would be several commits for each manifest.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Any, ...]

_CACHE_KIB = 32 << 10
# Bytes that must be free in the temporary folder; more than is written between two checks.
_SPARE = 256 << 20


def temporary_folder() -> str | None:
    """Return where SQLite puts its file (https://sqlite.org/tempfiles.html, 5); None if it can't.

    Without a folder SQLite fails in the middle of a collection, once its cache is full.
    """
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"))
    folders = (*named, "/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108 - only looked at
    return next((one for one in folders if one and os.access(one, os.W_OK | os.X_OK)), None)


class Database:
    """A database with the tables of a schema. Calls block, and come one at a time."""

    def __init__(self, schema: str) -> None:
        self._folder = temporary_folder()
        self._spills = True
        name = ":memory:" if self._folder is None else ""
        self._db = sqlite3.connect(name, check_same_thread=False, isolation_level=None)
        self._db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.executescript(schema)
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Drop everything; calling it twice does nothing."""
        self._db.close()

    def execute(self, query: str, *given: object) -> sqlite3.Cursor:
        """Run one statement."""
        return self._db.execute(query, given)

    def many(self, query: str, rows: Iterable[Row]) -> None:
        """Run one statement for each row."""
        self._adapt_to_disk()
        self._db.executemany(query, rows)

    def fill(self, query: str, *given: object) -> int:
        """Run one statement that adds many rows; return how many."""
        self._adapt_to_disk()
        return self._db.execute(query, given).rowcount

    def one(self, query: str, *given: object) -> Row | None:
        """Return the first row of an answer."""
        found: Row | None = self._db.execute(query, given).fetchone()
        return found

    def number(self, query: str, *given: object) -> int:
        """Return the number that is the whole answer."""
        ((number,),) = self._db.execute(query, given)
        assert isinstance(number, int)
        return number

    def count_and_size(self, query: str) -> tuple[int, int]:
        """Return the two numbers that are the whole answer."""
        ((count, size),) = self._db.execute(query)
        return count, size

    def _adapt_to_disk(self) -> None:
        """Keep new rows in memory while the disk is full: SQLite can't recover from a full disk."""
        if self._folder is None or self._spills is self._has_room(self._folder):
            return
        self._spills = not self._spills
        self._db.execute("COMMIT")  # these pragmas have no effect within a transaction
        self._db.execute(f"PRAGMA cache_spill = {'ON' if self._spills else 'OFF'}")
        self._db.execute(f"PRAGMA temp_store = {'FILE' if self._spills else 'MEMORY'}")
        self._db.execute("BEGIN")

    def _has_room(self, folder: str) -> bool:
        """Tell whether the disk takes what comes next, and all that was kept in memory so far."""
        try:
            filesystem = os.statvfs(folder)
        except OSError:
            return False
        kept = 0 if self._spills else self._size()
        return filesystem.f_bavail * filesystem.f_frsize > _SPARE + kept

    def _size(self) -> int:
        return self.number("PRAGMA page_count") * self.number("PRAGMA page_size")
