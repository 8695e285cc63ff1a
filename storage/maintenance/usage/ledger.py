"""What a collection knows, and besides what each repository needs and shares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from storage.maintenance.database import Row
from storage.maintenance.garbage.ledger import SCHEMA as COLLECTION_SCHEMA
from storage.maintenance.garbage.ledger import Ledger
from storage.maintenance.garbage.marking import UNTAGGED
from storage.maintenance.usage.amounts import Amount
from storage.maintenance.usage.tally import Tally
from storage.values.names import RepositoryName

SCHEMA = """
CREATE TABLE tally (
    repository INTEGER PRIMARY KEY, manifests INTEGER, tags INTEGER, uploads INTEGER,
    readable INTEGER
);
-- What the manifests of a repository need that lies on the disk; `alone`: no other needs it.
CREATE TABLE share (
    repository INTEGER PRIMARY KEY, blobs INTEGER, size INTEGER, alone INTEGER
);
CREATE TABLE again (repository INTEGER PRIMARY KEY);
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
SELECT name, manifests, tags, coalesce(blobs, 0), uploads, coalesce(size, 0), coalesce(alone, 0),
    readable
FROM repository JOIN tally ON tally.repository = id LEFT JOIN share ON share.repository = id
"""
_SUM = "SELECT count(*), coalesce(sum(size), 0) FROM blob WHERE "


class RepositoryUsage(NamedTuple):
    """What a repository has, and the bytes it needs: `unique` are those that no other needs.

    `blobs` do not count its manifests, though they need bytes as well. When it is not `readable`,
    one of its manifests is damaged, and it counts as needing all that it has links of.
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
        """The bytes that other repositories need as well."""
        return self.size - self.unique


class UsageLedger(Ledger):
    """The database of one look at a storage."""

    def __init__(self) -> None:
        super().__init__(COLLECTION_SCHEMA + SCHEMA)

    def add_tally(self, name: RepositoryName, found: Tally, *, readable: bool) -> None:
        """Take note of what a repository has."""
        row = (self.add_repository(name), found.manifests, found.tags, found.uploads, readable)
        self._db.execute("INSERT OR REPLACE INTO tally VALUES (?, ?, ?, ?, ?)", *row)

    def share_out(self) -> None:
        """Have the ledger know what each repository needs: call it once, when all are marked."""
        self._db.execute(_SHARES)

    def repositories(self, *, by_size: bool) -> Iterator[RepositoryUsage]:
        """Yield every repository, those that need most first, or by name."""
        order = "ORDER BY coalesce(size, 0) DESC, name" if by_size else "ORDER BY name"
        for row in self._db.execute(f"{_REPOSITORIES} {order}"):
            yield _usage(row)

    def repository(self, name: RepositoryName) -> RepositoryUsage | None:
        """Return one repository; None when there is none of that name."""
        row = self._db.one(f"{_REPOSITORIES} WHERE name = ?", name.text)
        return None if row is None else _usage(row)

    def amount_needed(self) -> Amount:
        """Return the blobs that manifests surely need."""
        return self._amount(
            "EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest AND sure)"
        )

    def amount_perhaps_needed(self) -> Amount:
        """Return the blobs that perhaps only manifests need that can't be read."""
        used = self._amount("EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest)")
        return used - self.amount_needed()

    def amount_shared(self) -> Amount:
        """Return the blobs that more than one repository needs."""
        return self._amount(
            "(SELECT max(repository) > min(repository) FROM needed "
            "WHERE needed.digest = blob.digest)"
        )

    def amount_idle(self) -> Amount:
        """Return the blobs that nothing needs and that are old."""
        return Amount(*self.sum_of_unneeded())

    def amount_young(self) -> Amount:
        """Return the blobs that nothing needs and that are too young to go."""
        return Amount(*self.sum_of_young())

    def unmark_untagged(self) -> list[RepositoryName]:
        """Forget what is needed by repositories that have manifests no tag leads to.

        Returns them, to be marked again. What was shared out stays as it is.
        """
        self._db.execute(
            "INSERT INTO again SELECT DISTINCT repository FROM manifest WHERE reason = ?",
            UNTAGGED,
        )
        for table in ("needed", "loose", "manifest"):
            self._db.execute(
                f"DELETE FROM {table} WHERE repository IN (SELECT repository FROM again)"  # noqa: S608
            )
        names = self._db.execute("SELECT name FROM again JOIN repository ON id = repository")
        return [RepositoryName(name) for (name,) in names]

    def _amount(self, condition: str) -> Amount:
        return Amount(*self._db.count_and_size(_SUM + condition))


def _usage(row: Row) -> RepositoryUsage:
    name, manifests, tags, blobs, uploads, size, unique, readable = row
    return RepositoryUsage(
        RepositoryName(name), manifests, tags, blobs, uploads, size, unique, bool(readable)
    )
