"""Sorted queues of what is to be checked, in a database: a repository may have a million layers."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from storage.maintenance.batches import batched
from storage.maintenance.database import Database

SCHEMA = """
CREATE TABLE queued (part INTEGER, key BLOB, PRIMARY KEY (part, key)) WITHOUT ROWID;
"""
# Keys in one call of the database.
_BATCH = 256


class QueueId(IntEnum):
    """The queues; each is used for one purpose at a time."""

    UPLOADS = 0
    REVISIONS = 1
    LAYERS = 2
    TAGS = 3
    HISTORY = 4
    SUBJECTS = 5
    REFERRERS = 6
    EXPECTED = 7
    REPOSITORIES = 8


class Queue:
    """The keys of one queue. Calls block. Any thread may call, one at a time."""

    def __init__(self, database: Database, kind: QueueId) -> None:
        self._db = database
        self._kind = int(kind)

    def clear(self) -> None:
        """Remove all keys."""
        self._db.execute("DELETE FROM queued WHERE part = ?", self._kind)

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys, in any order; duplicates are ignored."""
        self._change("INSERT OR IGNORE INTO queued VALUES (?, ?)", keys)

    def discard(self, keys: Iterable[bytes]) -> None:
        """Remove keys; missing ones are ignored."""
        self._change("DELETE FROM queued WHERE part = ? AND key = ?", keys)

    def after(self, key: bytes, count: int) -> list[bytes]:
        """Return the next `count` keys after `key`, in order; fewer only at the end."""
        query = "SELECT key FROM queued WHERE part = ? AND key > ? ORDER BY key LIMIT ?"
        return [row[0] for row in self._db.execute(query, self._kind, key, count)]

    def _change(self, query: str, keys: Iterable[bytes]) -> None:
        for batch in batched(keys, _BATCH):
            self._db.many(query, [(self._kind, key) for key in batch])
