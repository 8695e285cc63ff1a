"""The private database of a collection or a `du`: on disk what does not fit in memory.

An empty name is SQLite's for a file that has none. It writes that file only once its cache is full,
and deletes it when it is closed: small registries never touch the disk. Where no temporary folder
can be written to, as in a container with a read-only root filesystem, the database stays in memory.
While the folder's disk is full it does too, so that a disk that is full can be collected: a million
blobs take about 150 MB.

All is one transaction, never rolled back: the cost of a commit grows with the cache, not with what
was changed, and there would be several for each manifest.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Any, ...]

_CACHE_KIB = 32 << 10
# Bytes to be free in the temporary folder; more than is written between two looks at it.
_SPARE = 256 << 20


def temporary_folder() -> str | None:
    """Return where SQLite puts its file (https://sqlite.org/tempfiles.html, 5); None for nowhere.

    Without a folder it fails in the middle of a collection, once its cache is full.
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
        self._heed_disk()
        self._db.executemany(query, rows)

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

    def _heed_disk(self) -> None:
        """Keep in memory what is new while the disk is full: SQLite cannot recover from that."""
        if self._folder is None or self._spills is self._has_room(self._folder):
            return
        self._spills = not self._spills
        self._db.execute("COMMIT")  # in a transaction neither of the two has an effect
        self._db.execute(f"PRAGMA cache_spill = {'ON' if self._spills else 'OFF'}")
        self._db.execute(f"PRAGMA temp_store = {'FILE' if self._spills else 'MEMORY'}")
        self._db.execute("BEGIN")

    @staticmethod
    def _has_room(folder: str) -> bool:
        try:
            found = os.statvfs(folder)
        except OSError:
            return False
        return found.f_bavail * found.f_frsize > _SPARE
