"""The blobs that the survey found, in the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from storage.maintenance.database import Database
from storage.maintenance.digest_keys import key_of
from storage.values.digest import Digest

SCHEMA = """
-- Every blob on the disk; touching the file changes `version`.
CREATE TABLE blob (
    digest BLOB PRIMARY KEY, size INTEGER NOT NULL, version INTEGER NOT NULL, old INTEGER NOT NULL
) WITHOUT ROWID;
"""


class SurveyedBlob(NamedTuple):
    """A blob as the survey found it; `old` if it last changed before the grace period."""

    digest: Digest
    size: int
    version: int
    old: bool


class SurveyedBlobs:
    """The table of surveyed blobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, blobs: Iterable[SurveyedBlob]) -> None:
        """Add blobs that are on the disk."""
        rows = ((key_of(blob.digest), blob.size, blob.version, blob.old) for blob in blobs)
        self._db.many("INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)", rows)

    def get(self, digest: Digest) -> SurveyedBlob | None:
        """Return a blob; None when the survey did not find it."""
        row = self._db.one("SELECT size, version, old FROM blob WHERE digest = ?", key_of(digest))
        return None if row is None else SurveyedBlob(digest, row[0], row[1], bool(row[2]))

    def version(self, digest: Digest) -> int | None:
        """Return the surveyed version of a blob; None when the survey did not find it."""
        blob = self.get(digest)
        return None if blob is None else blob.version

    def count_and_size(self) -> tuple[int, int]:
        """Return the number of blobs and the sum of their bytes."""
        return self._db.count_and_size("SELECT count(*), coalesce(sum(size), 0) FROM blob")
