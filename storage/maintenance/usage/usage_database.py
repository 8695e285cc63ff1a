"""The database of a usage report: that of a collection, and what each repository needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storage.maintenance.database import Row
from storage.maintenance.garbage.collection_database import SCHEMA as COLLECTION_SCHEMA
from storage.maintenance.garbage.collection_database import CollectionDatabase
from storage.maintenance.garbage.mark.marking import UNTAGGED
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.tally import Tally
from storage.values.names import RepositoryName

SCHEMA = """
CREATE TABLE tally (
    repository INTEGER PRIMARY KEY, manifests INTEGER, tags INTEGER, uploads INTEGER,
    readable INTEGER
);
-- The surveyed blobs that a repository needs; `unique_size` counts those no other one needs.
CREATE TABLE share (
    repository INTEGER PRIMARY KEY, blobs INTEGER, size INTEGER, unique_size INTEGER
);
CREATE TABLE remark (repository INTEGER PRIMARY KEY);
"""
_SHARES = """
INSERT INTO share SELECT needed.repository,
    sum(NOT EXISTS (SELECT 1 FROM manifest
        WHERE manifest.repository = needed.repository AND manifest.digest = needed.digest)),
    sum(size),
    sum(size * NOT EXISTS (SELECT 1 FROM needed AS other
        WHERE other.digest = needed.digest AND other.repository <> needed.repository))
FROM needed JOIN blob ON blob.digest = needed.digest GROUP BY needed.repository
"""
_REPOSITORIES = """
SELECT name, manifests, tags, coalesce(blobs, 0), uploads, coalesce(size, 0),
    coalesce(unique_size, 0), readable
FROM repository JOIN tally ON tally.repository = id LEFT JOIN share ON share.repository = id
"""
_SUM = "SELECT count(*), coalesce(sum(size), 0) FROM blob WHERE "


class RepositoryDiskUsage(NamedTuple):
    """What a repository contains, and the bytes it needs; `unique` are needed by no other.

    `blobs` excludes manifests, `size` includes them. If it is not `readable`, one of its manifests
    is damaged, and it counts as needing everything that it links.
    """

    name: RepositoryName
    manifests: int
    tags: int
    blobs: int
    uploads: int
    size: int
    unique: int
    readable: bool

    @property
    def shared(self) -> int:
        """The bytes that other repositories need too."""
        return self.size - self.unique


class UsageDatabase(CollectionDatabase):
    """The database of one usage report."""

    def __init__(self) -> None:
        super().__init__(COLLECTION_SCHEMA + SCHEMA)

    def add_tally(self, name: RepositoryName, tally: Tally, *, readable: bool) -> None:
        """Record what a repository contains."""
        number = self.marks.number_of(name)
        row = (number, tally.manifests, tally.tags, tally.uploads, readable)
        self._db.execute("INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?)", *row)

    def add_shares(self) -> None:
        """Record what each repository needs; call it once, when all are marked."""
        self._db.execute(_SHARES)

    def repositories(self, *, by_size: bool) -> Iterator[RepositoryDiskUsage]:
        """Yield every repository, those that need most bytes first, or by name."""
        order = "ORDER BY coalesce(size, 0) DESC, name" if by_size else "ORDER BY name"
        for row in self._db.execute(f"{_REPOSITORIES} {order}"):
            yield _usage(row)

    def repository(self, name: RepositoryName) -> RepositoryDiskUsage | None:
        """Return one repository; None when it does not exist."""
        row = self._db.one(f"{_REPOSITORIES} WHERE name = ?", name.text)
        return None if row is None else _usage(row)

    def amount_needed(self) -> Amount:
        """Return the blobs that readable manifests need."""
        return self._amount(
            "EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest AND sure)"
        )

    def amount_perhaps_needed(self) -> Amount:
        """Return the blobs that only unreadable manifests may need."""
        all_needed = self._amount("EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest)")
        return all_needed - self.amount_needed()

    def amount_shared(self) -> Amount:
        """Return the blobs that more than one repository needs."""
        return self._amount(
            "(SELECT max(repository) > min(repository) FROM needed "
            "WHERE needed.digest = blob.digest)"
        )

    def amount_idle(self) -> Amount:
        """Return the unreferenced blobs that are old."""
        return Amount(*self.candidates.count_and_size_of_blobs())

    def amount_young(self) -> Amount:
        """Return the unreferenced blobs within the grace period."""
        return Amount(*self.candidates.count_and_size_of_blobs(old=False))

    def unmark_untagged(self) -> list[RepositoryName]:
        """Delete the marks of repositories with untagged manifests; return those repositories.

        The caller marks them again. The recorded shares are kept.
        """
        self._db.execute(
            "INSERT INTO remark SELECT DISTINCT repository FROM manifest WHERE reason = ?",
            UNTAGGED,
        )
        for table in ("needed", "unreferenced_link", "manifest"):
            self._db.execute(
                f"DELETE FROM {table} WHERE repository IN (SELECT repository FROM remark)"  # noqa: S608
            )
        names = self._db.execute("SELECT name FROM remark JOIN repository ON id = repository")
        return [RepositoryName(name) for (name,) in names]

    def _amount(self, condition: str) -> Amount:
        return Amount(*self._db.count_and_size(_SUM + condition))


def _usage(row: Row) -> RepositoryDiskUsage:
    name, manifests, tags, blobs, uploads, size, unique, readable = row
    return RepositoryDiskUsage(
        RepositoryName(name), manifests, tags, blobs, uploads, size, unique, bool(readable)
    )
