"""A private SQLite database for maintenance, which spills to disk what exceeds its cache.

With an empty name SQLite uses a temporary file. It writes that file only once its cache is full,
and deletes it when it is closed: small registries never touch the disk. The database stays in
memory if no temporary folder is writable, as in a container with a read-only root filesystem, and
while the folder's disk is full, so that a collection can run on a full disk. A million blobs take
about 150 MB.

All changes are one transaction, never rolled back. The cost of a commit grows with the cache, not
with the change, and each manifest would need several commits.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Any, ...]

_CACHE_KIB = 32 << 10
# Bytes that must be free in the temporary folder: more than is written between two checks.
_SPARE = 256 << 20


def temporary_folder() -> str | None:
    """Return the folder of SQLite's temporary file; None when none is writable.

    https://sqlite.org/tempfiles.html, section 5. Without a folder SQLite fails once its cache is
    full, in the middle of a collection.
    """
    configured = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"))
    folders = (*configured, "/var/tmp", "/usr/tmp", "/tmp", ".")  # noqa: S108 - not written here
    writable = (folder for folder in folders if folder and os.access(folder, os.W_OK | os.X_OK))
    return next(writable, None)


class Database:
    """A database with the tables of a schema. Calls block and must not overlap."""

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
        """Delete the database; calling it twice does nothing."""
        self._db.close()

    def execute(self, query: str, *parameters: object) -> sqlite3.Cursor:
        """Execute a statement."""
        return self._db.execute(query, parameters)

    def many(self, query: str, rows: Iterable[Row]) -> None:
        """Execute a statement for each row."""
        self._adapt_to_disk()
        self._db.executemany(query, rows)

    def fill(self, query: str, *parameters: object) -> int:
        """Execute a statement that inserts many rows; return how many."""
        self._adapt_to_disk()
        return self._db.execute(query, parameters).rowcount

    def one(self, query: str, *parameters: object) -> Row | None:
        """Return the first row of a result; None when it is empty."""
        row: Row | None = self._db.execute(query, parameters).fetchone()
        return row

    def number(self, query: str, *parameters: object) -> int:
        """Return the only number of a result."""
        ((number,),) = self._db.execute(query, parameters)
        assert isinstance(number, int)
        return number

    def count_and_size(self, query: str, *parameters: object) -> tuple[int, int]:
        """Return the only two numbers of a result."""
        ((count, size),) = self._db.execute(query, parameters)
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
        """Return whether the disk has room for the next rows and all that is still in memory."""
        try:
            filesystem = os.statvfs(folder)
        except OSError:
            return False
        in_memory = 0 if self._spills else self._size()
        return filesystem.f_bavail * filesystem.f_frsize > _SPARE + in_memory

    def _size(self) -> int:
        return self.number("PRAGMA page_count") * self.number("PRAGMA page_size")
