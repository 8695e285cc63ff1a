"""What a collection knows, in a database that grows on disk and not in memory (`database`).

A registry may hold millions of blobs. No query sorts rows whose number grows with the blobs: each
follows an index. Digests are stored as bytes, which take half the space of text and have the same
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from storage.maintenance.batches import batched
from storage.maintenance.database import Database
from storage.maintenance.digest_keys import digest_of, key_of
from storage.maintenance.garbage.components import SCHEMA as COMPONENTS_SCHEMA
from storage.maintenance.garbage.components import Components
from storage.maintenance.garbage.families import Knot, Pair
from storage.maintenance.garbage.graph import SCHEMA as GRAPH_SCHEMA
from storage.maintenance.garbage.graph import Graph
from storage.maintenance.garbage.leftovers import SCHEMA as LEFTOVERS_SCHEMA
from storage.maintenance.garbage.leftovers import Leftovers
from storage.values.digest import Digest
from storage.values.names import RepositoryName

_SCHEMA = """
-- Every blob that lies on the disk; `version` is what changes when it is used.
CREATE TABLE blob (
    digest BLOB PRIMARY KEY, size INTEGER NOT NULL, version INTEGER NOT NULL, old INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE repository (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- What a manifest that stays names or is, by repository; if not `sure`, it only may.
CREATE TABLE needed (
    digest BLOB, repository INTEGER, sure INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
CREATE INDEX needed_repository ON needed (repository, digest);
-- Every manifest, and why it stays: `above` is the one that lists it or that it refers to. Those
-- that go belong to a `family` of what hangs together, and in that to a `knot` that goes in one
-- instant.
CREATE TABLE manifest (
    repository INTEGER, digest BLOB, reason TEXT, above BLOB,
    family INTEGER, rank INTEGER, knot INTEGER,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX manifest_family ON manifest (family, rank) WHERE family IS NOT NULL;
-- Within a family: if the one is used after all, the other stays as well.
CREATE TABLE hangs_on (
    family INTEGER, upper BLOB, lower BLOB, PRIMARY KEY (family, upper, lower)
) WITHOUT ROWID;
-- Manifests whose bytes are absent or damaged.
CREATE TABLE unreadable (
    repository INTEGER, digest BLOB, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
-- Layer links that no manifest of their repository needs, and the content they lead to.
CREATE TABLE loose (
    repository INTEGER, digest BLOB, content BLOB, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE VIEW unneeded AS
    SELECT * FROM blob WHERE NOT EXISTS (SELECT 1 FROM needed WHERE needed.digest = blob.digest);
"""
SCHEMA = _SCHEMA + GRAPH_SCHEMA + COMPONENTS_SCHEMA + LEFTOVERS_SCHEMA
_MANIFESTS = """
SELECT iif(family IS NULL, 'manifest', 'doomed'), digest, reason, above
FROM manifest WHERE repository = ? ORDER BY digest
"""
_NEEDED_BLOBS = """
SELECT digest FROM needed WHERE repository = ? AND NOT EXISTS (
    SELECT 1 FROM manifest
    WHERE manifest.repository = needed.repository AND manifest.digest = needed.digest
) ORDER BY digest
"""
_TIES = (
    "INSERT OR IGNORE INTO needed (repository, digest) VALUES (?, ?)",
    "INSERT OR IGNORE INTO needed (repository, digest) "
    "SELECT repository, content FROM loose WHERE repository = ? AND digest = ?",
    "DELETE FROM loose WHERE repository = ? AND digest = ?",
)
_AT_ONCE = 100


class SurveyedBlob(NamedTuple):
    """A blob as the survey found it; `old` when its last change is longer ago than the grace."""

    digest: Digest
    size: int
    version: int
    old: bool


class LooseLink(NamedTuple):
    """The link of a blob that no manifest of its repository needs."""

    repository: RepositoryName
    digest: Digest
    content: Digest


class Family(NamedTuple):
    """Manifests of one repository that hang together, knot by knot, as `families` orders them."""

    number: int
    repository: RepositoryName
    knots: tuple[Knot, ...]
    hangs_on: tuple[Pair, ...]


class Marked(NamedTuple):
    """What a repository holds or needs: `kind` is "repository", "manifest", "doomed" or "blob".

    `digest` is None for the repository itself; `reason` says why a manifest is kept.
    """

    repository: RepositoryName
    kind: str
    digest: Digest | None
    reason: str | None


class Ledger:
    """One collection's database. Calls block, and come one at a time, from any thread."""

    def __init__(self, schema: str = SCHEMA) -> None:
        self._db = Database(schema)
        self.graph = Graph(self._db)
        self.components = Components(self._db)
        self.leftovers = Leftovers(self._db)

    def close(self) -> None:
        """Drop everything; calling it twice does nothing."""
        self._db.close()

    # The survey

    def add_blobs(self, blobs: Iterable[SurveyedBlob]) -> None:
        """Take note of blobs that lie on the disk."""
        rows = ((key_of(one.digest), one.size, one.version, one.old) for one in blobs)
        self._db.many("INSERT OR REPLACE INTO blob VALUES (?, ?, ?, ?)", rows)

    def blob(self, digest: Digest) -> SurveyedBlob | None:
        """Return what the survey found of a blob."""
        found = self._db.one("SELECT size, version, old FROM blob WHERE digest = ?", key_of(digest))
        return None if found is None else SurveyedBlob(digest, found[0], found[1], bool(found[2]))

    def version(self, digest: Digest) -> int | None:
        """Return the version a blob had in the survey; None when it was not there."""
        found = self.blob(digest)
        return None if found is None else found.version

    # The marks

    def add_repository(self, name: RepositoryName) -> int:
        """Number a repository."""
        self._db.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", name.text)
        return self._db.number("SELECT id FROM repository WHERE name = ?", name.text)

    def need(self, repository: int, digests: Iterable[Digest]) -> None:
        """Take note that a repository needs content."""
        rows = ((key_of(digest), repository) for digest in digests)
        self._db.many("INSERT OR IGNORE INTO needed (digest, repository) VALUES (?, ?)", rows)

    def need_perhaps(self, repository: int, digests: Iterable[Digest]) -> None:
        """Take note that a repository may need content: nobody can tell."""
        rows = ((key_of(digest), repository) for digest in digests)
        self._db.many("INSERT OR IGNORE INTO needed VALUES (?, ?, 0)", rows)

    def needs(self, repository: int, digest: Digest) -> bool:
        """Tell whether a repository needs content."""
        query = "SELECT 1 FROM needed WHERE digest = ? AND repository = ?"
        return self._db.one(query, key_of(digest), repository) is not None

    def need_what_kept_needs(self, repository: int) -> None:
        """Have a repository need its manifests that stay, by the graph, and what they name."""
        for query in (
            "INSERT OR IGNORE INTO needed SELECT digest, ?, 1 FROM kept",
            "INSERT OR IGNORE INTO needed SELECT named.digest, ?, 1 FROM member "
            "CROSS JOIN named ON named.manifest = member.id "
            "WHERE EXISTS (SELECT 1 FROM kept WHERE kept.digest = member.digest)",
        ):
            self._db.fill(query, repository)

    def keep_what_the_graph_keeps(self, repository: int) -> None:
        """Take note of the manifests of the graph that stay, and why."""
        # In the order of the digests, so that they come one behind the other.
        self._db.fill(
            "INSERT OR REPLACE INTO manifest (repository, digest, reason, above) "
            "SELECT ?, digest, reason, above FROM member CROSS JOIN kept USING (digest) "
            "ORDER BY member.digest",
            repository,
        )

    def add_unreadable(self, repository: int, digest: Digest) -> None:
        """Take note of a manifest whose bytes are absent or damaged."""
        query = "INSERT OR IGNORE INTO unreadable VALUES (?, ?)"
        self._db.many(query, ((repository, key_of(digest)),))

    def first_unreadable(self, repository: int) -> Digest | None:
        """Return one of those manifests, the same each time; None when all could be read."""
        query = "SELECT min(digest) FROM unreadable WHERE repository = ?"
        found = self._db.one(query, repository)
        return None if found is None or found[0] is None else digest_of(found[0])

    def add_loose_links(self, repository: int, links: Iterable[tuple[Digest, Digest]]) -> None:
        """Take note of layer links that nothing needs, with the content they lead to."""
        rows = ((repository, key_of(digest), key_of(content)) for digest, content in links)
        self._db.many("INSERT OR REPLACE INTO loose VALUES (?, ?, ?)", rows)

    def tie(self, repository: int, digests: Iterable[Digest]) -> None:
        """Take note that a repository needs content after all: its links are not loose."""
        rows = ((repository, key_of(digest)) for digest in digests)
        for some in batched(rows, _AT_ONCE):
            for query in _TIES:
                self._db.many(query, some)

    def leave_alone(self, name: RepositoryName) -> None:
        """Have nothing of a repository go after all."""
        number = self.add_repository(name)
        self._db.execute("DELETE FROM manifest WHERE repository = ? AND family > 0", number)
        self._db.execute("DELETE FROM loose WHERE repository = ?", number)

    def leave_all_alone(self) -> None:
        """Have no manifest and no link of a blob go after all, in any repository."""
        self._db.execute("DELETE FROM manifest WHERE family > 0")
        self._db.execute("DELETE FROM loose")

    # What goes

    def families(self, after: int, limit: int) -> list[Family]:
        """Return the next families whose numbers are greater than `after`: some `limit` manifests.

        The last of them has more than that where it is one of many.
        """
        query = "SELECT DISTINCT family FROM manifest WHERE family > ? ORDER BY family LIMIT ?"
        found: list[Family] = []
        for (number,) in self._db.execute(query, after, limit).fetchall():
            found.append(self._family(number))
            limit -= sum(map(len, found[-1].knots))
            if limit <= 0:
                break
        return found

    def _family(self, number: int) -> Family:
        query = (
            "SELECT name, digest, knot FROM manifest JOIN repository ON repository.id = repository "
            "WHERE family = ? ORDER BY rank"
        )
        found = list(self._db.execute(query, number))
        knots = groupby(found, key=lambda row: row[2])
        pairs = self._db.execute("SELECT upper, lower FROM hangs_on WHERE family = ?", number)
        return Family(
            number,
            RepositoryName(found[0][0]),
            tuple(tuple(digest_of(row[1]) for row in some) for _, some in knots),
            tuple((digest_of(upper), digest_of(lower)) for upper, lower in pairs),
        )

    def loose_links(self, after: LooseLink | None, limit: int) -> list[LooseLink]:
        """Return the next loose links behind `after`."""
        start = (self.add_repository(after.repository), key_of(after.digest)) if after else (0, b"")
        query = (
            "SELECT name, loose.digest, content FROM loose "
            "JOIN repository ON repository.id = loose.repository "
            "WHERE (loose.repository, loose.digest) > (?, ?) "
            "ORDER BY loose.repository, loose.digest LIMIT ?"
        )
        return [
            LooseLink(RepositoryName(name), digest_of(digest), digest_of(content))
            for name, digest, content in self._db.execute(query, *start, limit)
        ]

    def unneeded(self, after: Digest | None, limit: int) -> list[SurveyedBlob]:
        """Return the next old blobs behind `after` that nothing uses."""
        query = (
            "SELECT digest, size, version, old FROM unneeded WHERE old AND digest > ? "
            "ORDER BY digest LIMIT ?"
        )
        rows = self._db.execute(query, key_of(after) if after else b"", limit)
        return [SurveyedBlob(digest_of(row[0]), row[1], row[2], bool(row[3])) for row in rows]

    def marked(self) -> Iterator[Marked]:
        """Yield each repository by name, then its manifests, then the blobs that they need."""
        for number, name in self._db.execute("SELECT id, name FROM repository ORDER BY name"):
            repository = RepositoryName(name)
            yield Marked(repository, "repository", None, None)
            for kind, digest, reason, above in self._db.execute(_MANIFESTS, number):
                reason = f"{reason} {digest_of(above)}" if above else reason
                yield Marked(repository, kind, digest_of(digest), reason)
            for (digest,) in self._db.execute(_NEEDED_BLOBS, number):
                yield Marked(repository, "blob", digest_of(digest), None)

    def doomed(self) -> Iterator[tuple[RepositoryName, Digest]]:
        """Yield the manifests eligible for deletion, by repository."""
        query = (
            "SELECT name, digest FROM repository CROSS JOIN manifest ON id = repository "
            "WHERE family IS NOT NULL ORDER BY name, digest"
        )
        for name, digest in self._db.execute(query):
            yield RepositoryName(name), digest_of(digest)

    def unreadable(self) -> Iterator[tuple[RepositoryName, Digest]]:
        """Yield the manifests whose bytes are absent or damaged, by repository."""
        query = (
            "SELECT name, digest FROM repository CROSS JOIN unreadable ON id = repository "
            "ORDER BY name, digest"
        )
        for name, digest in self._db.execute(query):
            yield RepositoryName(name), digest_of(digest)

    def young(self) -> Iterator[SurveyedBlob]:
        """Yield the blobs that nothing uses and that are too young to go."""
        query = "SELECT digest, size, version, old FROM unneeded WHERE NOT old ORDER BY digest"
        for digest, size, version, old in self._db.execute(query):
            yield SurveyedBlob(digest_of(digest), size, version, bool(old))

    # Sums

    def sum_of_blobs(self) -> tuple[int, int]:
        """Return how many blobs lie on the disk, and how many bytes they have."""
        return self._db.count_and_size("SELECT count(*), coalesce(sum(size), 0) FROM blob")

    def sum_of_unneeded(self) -> tuple[int, int]:
        """Return how many old blobs nothing uses, and how many bytes they have."""
        return self._db.count_and_size(
            "SELECT count(*), coalesce(sum(size), 0) FROM unneeded WHERE old"
        )

    def sum_of_young(self) -> tuple[int, int]:
        """Return how many blobs nothing uses that are too young, and how many bytes they have."""
        return self._db.count_and_size(
            "SELECT count(*), coalesce(sum(size), 0) FROM unneeded WHERE NOT old"
        )

    def count_of_marked(self) -> int:
        """Return how many digests are needed, counting those of missing blobs."""
        return self._db.number("SELECT count(*) FROM (SELECT DISTINCT digest FROM needed)")

    def count_of_doomed(self) -> int:
        """Return how many manifests go."""
        return self._db.number("SELECT count(*) FROM manifest WHERE family IS NOT NULL")

    def count_of_kept(self) -> int:
        """Return how many manifests stay."""
        return self._db.number("SELECT count(*) FROM manifest WHERE family IS NULL")

    def count_of_unreadable(self) -> int:
        """Return how many manifests can't be read."""
        return self._db.number("SELECT count(*) FROM unreadable")

    def count_of_loose(self) -> int:
        """Return how many links go."""
        return self._db.number("SELECT count(*) FROM loose")
