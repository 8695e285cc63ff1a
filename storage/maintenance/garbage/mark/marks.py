"""The marks of a collection: which manifests are kept and why, and what they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from storage.maintenance.database import Database
from storage.maintenance.digest_keys import digest_of, key_of
from storage.values.digest import Digest
from storage.values.names import RepositoryName

SCHEMA = """
CREATE TABLE repository (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- The kept manifests of a repository and what they name; if not `sure`, it may be needed.
CREATE TABLE needed (
    digest BLOB, repository INTEGER, sure INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
CREATE INDEX needed_repository ON needed (repository, digest);
-- Every manifest. If kept: the reason, where `above` is the manifest that lists it or that it
-- refers to. If to be removed: its `component`, its `rank` in that, and its removal `unit`.
CREATE TABLE manifest (
    repository INTEGER, digest BLOB, reason TEXT, above BLOB,
    component INTEGER, rank INTEGER, unit INTEGER,
    PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
CREATE INDEX manifest_component ON manifest (component, rank) WHERE component IS NOT NULL;
-- Manifests whose bytes are missing or damaged.
CREATE TABLE unreadable (
    repository INTEGER, digest BLOB, PRIMARY KEY (repository, digest)
) WITHOUT ROWID;
"""
_MANIFESTS = """
SELECT iif(component IS NULL, 'manifest', 'eligible'), digest, reason, above
FROM manifest WHERE repository = ? ORDER BY digest
"""
_NEEDED_BLOBS = """
SELECT digest FROM needed WHERE repository = ? AND NOT EXISTS (
    SELECT 1 FROM manifest
    WHERE manifest.repository = needed.repository AND manifest.digest = needed.digest
) ORDER BY digest
"""
_NEED_KEPT = (
    "INSERT OR IGNORE INTO needed SELECT digest, ?, 1 FROM kept",
    "INSERT OR IGNORE INTO needed SELECT named.digest, ?, 1 FROM member "
    "CROSS JOIN named ON named.manifest = member.id "
    "WHERE EXISTS (SELECT 1 FROM kept WHERE kept.digest = member.digest)",
)
# Rows in the order of the digests, which makes every insert an append.
_RECORD_KEPT = """
INSERT OR REPLACE INTO manifest (repository, digest, reason, above)
SELECT ?, digest, reason, above FROM member CROSS JOIN kept USING (digest) ORDER BY member.digest
"""


class Marked(NamedTuple):
    """What a repository holds or needs: `kind` is "repository", "manifest", "eligible" or "blob".

    `digest` is None for the repository itself; `reason` says why a manifest is kept.
    """

    repository: RepositoryName
    kind: str
    digest: Digest | None
    reason: str | None


class Marks:
    """The tables of marks. Repositories are given by number (`number_of`)."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def number_of(self, name: RepositoryName) -> int:
        """Return the number of a repository; a new name gets one."""
        self._db.execute("INSERT OR IGNORE INTO repository (name) VALUES (?)", name.text)
        return self._db.number("SELECT id FROM repository WHERE name = ?", name.text)

    def need(self, repository: int, digests: Iterable[Digest], *, sure: bool = True) -> None:
        """Mark content that a repository needs; because of damage it may not be `sure`."""
        rows = ((key_of(digest), repository, sure) for digest in digests)
        self._db.many("INSERT OR IGNORE INTO needed VALUES (?, ?, ?)", rows)

    def is_needed(self, repository: int, digest: Digest) -> bool:
        """Return whether a repository needs or may need content."""
        query = "SELECT 1 FROM needed WHERE digest = ? AND repository = ?"
        return self._db.one(query, key_of(digest), repository) is not None

    def add_kept(self, repository: int) -> None:
        """Record the manifests that the graph keeps; mark them and what they name."""
        for query in (_RECORD_KEPT, *_NEED_KEPT):
            self._db.fill(query, repository)

    def add_unreadable(self, repository: int, digest: Digest) -> None:
        """Record a manifest whose bytes are missing or damaged."""
        query = "INSERT OR IGNORE INTO unreadable VALUES (?, ?)"
        self._db.many(query, ((repository, key_of(digest)),))

    def first_unreadable(self, repository: int) -> Digest | None:
        """Return the first unreadable manifest in the order of digests; None without any."""
        row = self._db.one("SELECT min(digest) FROM unreadable WHERE repository = ?", repository)
        return None if row is None or row[0] is None else digest_of(row[0])

    def unreadable(self) -> Iterator[tuple[RepositoryName, Digest]]:
        """Yield the manifests whose bytes are missing or damaged, by repository."""
        query = (
            "SELECT name, digest FROM repository CROSS JOIN unreadable ON id = repository "
            "ORDER BY name, digest"
        )
        for name, digest in self._db.execute(query):
            yield RepositoryName(name), digest_of(digest)

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

    def count_of_digests(self) -> int:
        """Return the number of digests that are needed, including those of missing blobs."""
        return self._db.number("SELECT count(*) FROM (SELECT DISTINCT digest FROM needed)")

    def count_of_kept_manifests(self) -> int:
        """Return the number of manifests that are kept."""
        return self._db.number("SELECT count(*) FROM manifest WHERE component IS NULL")

    def count_of_unreadable(self) -> int:
        """Return the number of manifests whose bytes are missing or damaged."""
        return self._db.number("SELECT count(*) FROM unreadable")
