"""What is eligible for deletion: manifests, links, then blobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from storage.maintenance.batches import batched
from storage.maintenance.database import Database, Row
from storage.maintenance.digest_keys import digest_of, key_of
from storage.maintenance.garbage.mark.removal_order import Pair, RemovalUnit
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlob
from storage.values.digest import Digest
from storage.values.names import RepositoryName

SCHEMA = """
-- Pairs of one component: if `upper` is kept after all, so is `lower`.
CREATE TABLE retains (
    component INTEGER, upper BLOB, lower BLOB, PRIMARY KEY (component, upper, lower)
) WITHOUT ROWID;
-- Layer links that no manifest of their repository needs, and the content they point to.
CREATE TABLE unreferenced_link (
    repository INTEGER, digest BLOB, content BLOB, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE VIEW unreferenced AS
    SELECT * FROM blob WHERE NOT EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest);
"""
_SPARE = (
    "INSERT OR IGNORE INTO needed (repository, digest) VALUES (?, ?)",
    "INSERT OR IGNORE INTO needed (repository, digest) "
    "SELECT repository, content FROM unreferenced_link WHERE repository = ? AND digest = ?",
    "DELETE FROM unreferenced_link WHERE repository = ? AND digest = ?",
)
_BATCH = 100


class UnreferencedLink(NamedTuple):
    """A layer link that no manifest of its repository needs."""

    repository: RepositoryName
    digest: Digest
    content: Digest
    repository_number: int


class Component(NamedTuple):
    """Manifests of one repository that retain one another, as units in their removal order."""

    number: int
    repository: RepositoryName
    units: tuple[RemovalUnit, ...]
    retains: tuple[Pair, ...]


class Candidates:
    """The tables of what is eligible for deletion. Repositories are given by their number."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_links(self, repository: int, links: Iterable[tuple[Digest, Digest]]) -> None:
        """Add unreferenced layer links, each with the content that it points to."""
        rows = ((repository, key_of(digest), key_of(content)) for digest, content in links)
        for batch in batched(rows, _BATCH):
            self._db.many("INSERT OR REPLACE INTO unreferenced_link VALUES (?, ?, ?)", batch)

    def spare(self, repository: int, digests: Iterable[Digest]) -> None:
        """Keep content that a repository needs after all, with its links."""
        rows = ((repository, key_of(digest)) for digest in digests)
        for batch in batched(rows, _BATCH):
            for query in _SPARE:
                self._db.many(query, batch)

    def spare_repository(self, repository: int) -> None:
        """Keep all manifests and links of a repository."""
        query = "DELETE FROM manifest WHERE repository = ? AND component > 0"
        self._db.execute(query, repository)
        self._db.execute("DELETE FROM unreferenced_link WHERE repository = ?", repository)

    def spare_all(self) -> None:
        """Keep all manifests and links."""
        self._db.execute("DELETE FROM manifest WHERE component > 0")
        self._db.execute("DELETE FROM unreferenced_link")

    def components(self, after: int, limit: int) -> list[Component]:
        """Return the next components with numbers greater than `after`, up to `limit` manifests.

        The last component may exceed the limit.
        """
        query = (
            "SELECT DISTINCT component FROM manifest WHERE component > ? ORDER BY component LIMIT ?"
        )
        components: list[Component] = []
        for (number,) in self._db.execute(query, after, limit).fetchall():
            components.append(self._component(number))
            limit -= sum(map(len, components[-1].units))
            if limit <= 0:
                break
        return components

    def _component(self, number: int) -> Component:
        query = (
            "SELECT name, digest, unit FROM manifest JOIN repository ON repository.id = repository "
            "WHERE component = ? ORDER BY rank"
        )
        rows = list(self._db.execute(query, number))
        units = groupby(rows, key=lambda row: row[2])
        pairs = self._db.execute("SELECT upper, lower FROM retains WHERE component = ?", number)
        return Component(
            number,
            RepositoryName(rows[0][0]),
            tuple(tuple(digest_of(row[1]) for row in unit) for _, unit in units),
            tuple((digest_of(upper), digest_of(lower)) for upper, lower in pairs),
        )

    def links(self, after: UnreferencedLink | None, limit: int) -> list[UnreferencedLink]:
        """Return the next unreferenced links behind `after`."""
        start = (after.repository_number, key_of(after.digest)) if after else (0, b"")
        query = (
            "SELECT name, link.digest, content, repository.id FROM unreferenced_link AS link "
            "JOIN repository ON repository.id = link.repository "
            "WHERE (link.repository, link.digest) > (?, ?) "
            "ORDER BY link.repository, link.digest LIMIT ?"
        )
        return [
            UnreferencedLink(RepositoryName(name), digest_of(digest), digest_of(content), number)
            for name, digest, content, number in self._db.execute(query, *start, limit)
        ]

    def blobs(self, after: Digest | None, limit: int) -> list[SurveyedBlob]:
        """Return the next unreferenced blobs behind `after` that are old."""
        query = (
            "SELECT digest, size, version, old FROM unreferenced WHERE old AND digest > ? "
            "ORDER BY digest LIMIT ?"
        )
        rows = self._db.execute(query, key_of(after) if after else b"", limit)
        return [_blob(row) for row in rows]

    def manifests(self) -> Iterator[tuple[RepositoryName, Digest]]:
        """Yield the manifests eligible for deletion, by repository."""
        query = (
            "SELECT name, digest FROM repository CROSS JOIN manifest ON id = repository "
            "WHERE component IS NOT NULL ORDER BY name, digest"
        )
        for name, digest in self._db.execute(query):
            yield RepositoryName(name), digest_of(digest)

    def count_of_manifests(self) -> int:
        """Return the number of manifests eligible for deletion."""
        return self._db.number("SELECT count(*) FROM manifest WHERE component IS NOT NULL")

    def count_of_links(self) -> int:
        """Return the number of unreferenced links."""
        return self._db.number("SELECT count(*) FROM unreferenced_link")

    def count_and_size_of_blobs(self, *, old: bool = True) -> tuple[int, int]:
        """Return the number of unreferenced blobs and the sum of their bytes.

        These are the old ones, or with `old=False` those within the grace period.
        """
        query = "SELECT count(*), coalesce(sum(size), 0) FROM unreferenced WHERE old = ?"
        return self._db.count_and_size(query, old)


def _blob(row: Row) -> SurveyedBlob:
    digest, size, version, old = row
    return SurveyedBlob(digest_of(digest), size, version, bool(old))
