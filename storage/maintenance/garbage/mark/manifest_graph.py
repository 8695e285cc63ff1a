"""The graph of one repository's manifests, and the walk from its tags to what is kept.

A repository may have a million manifests, so the graph is in the database (`database`), and the
queue of a walk is a table: no Python object is held per manifest. The graph holds one repository at
a time: `clear` it before the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.maintenance.database import Database
from storage.maintenance.digest_keys import digest_of, key_of
from storage.maintenance.garbage.mark.dependencies import Dependencies
from storage.maintenance.garbage.mark.row_buffer import RowBuffer
from storage.values.digest import Digest
from storage.values.names import Tag

SCHEMA = """
-- The manifests of the repository being marked, numbered as they come, and the blobs that each
-- names. Those are by far the most rows, so the key makes every insert an append.
CREATE TABLE member (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE named (
    manifest INTEGER, digest BLOB, PRIMARY KEY (manifest, digest)
) WITHOUT ROWID;
-- If `upper` is kept, so is `lower`: its child at this place of its list, or its referrer.
CREATE TABLE edge (
    upper BLOB, place INTEGER, lower BLOB, PRIMARY KEY (upper, place, lower)
) WITHOUT ROWID;
-- The manifests that tags point to, or may point to.
CREATE TABLE root (
    tag TEXT, digest BLOB, reason TEXT, PRIMARY KEY (tag, digest)
) WITHOUT ROWID;
-- The manifests that are kept, in the order of the walk, and why: `above` led the walk to it.
CREATE TABLE kept (
    place INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, reason TEXT NOT NULL, above BLOB
);
"""
TABLES = ("member", "named", "edge", "root", "kept")
# The place of a referrer, behind those of all children.
REFERRER = 1 << 32
LISTED, REFERS = "listed by", "refers to"

_AT_ONCE = 100
# Rows of the queue that one statement expands. Results keep the order of the queue, so it does not
# matter where a step ends.
_STEP = 10_000
_EXPAND = f"""
INSERT OR IGNORE INTO kept (digest, reason, above)
SELECT edge.lower, iif(edge.place < {REFERRER}, '{LISTED}', '{REFERS}'), edge.upper
FROM kept AS upper CROSS JOIN edge ON edge.upper = upper.digest
WHERE upper.place > ? AND upper.place <= ?
    AND EXISTS (SELECT 1 FROM member WHERE member.digest = edge.lower)
ORDER BY upper.place, edge.place, edge.lower
"""  # noqa: S608 - constants of this module
_KEEP = "INSERT OR IGNORE INTO kept (digest, reason) SELECT member.digest,"


class Graph:
    """The manifests and tags of one repository."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._members = RowBuffer(db, "INSERT OR IGNORE INTO member VALUES (?, ?)")
        self._named = RowBuffer(db, "INSERT OR IGNORE INTO named VALUES (?, ?)")
        self._edges = RowBuffer(db, "INSERT OR IGNORE INTO edge VALUES (?, ?, ?)")
        self._roots = RowBuffer(db, "INSERT OR IGNORE INTO root VALUES (?, ?, ?)")
        self._last = self._kept = 0

    def clear(self) -> None:
        """Delete everything, for the next repository."""
        for table in TABLES:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants of this module
        self._last = self._kept = 0

    def add(self, digest: Digest, dependencies: Dependencies | None) -> None:
        """Add a manifest and what it needs; None when it can't be read."""
        key = key_of(digest)
        self._last += 1
        self._members.add(((self._last, key),))
        if dependencies is None:
            return
        children = map(key_of, dependencies.children)
        self._named.add((self._last, key_of(blob)) for blob in dependencies.blobs)
        self._edges.add((key, place, child) for place, child in enumerate(children))
        if dependencies.subject is not None:
            self._edges.add(((key_of(dependencies.subject), REFERRER, key),))

    def add_root(self, tag: Tag, digest: Digest, reason: str) -> None:
        """Add a manifest that a tag points to or may point to, with the reason to keep it."""
        self._roots.add(((tag.text, key_of(digest), reason),))

    def has(self, digest: Digest) -> bool:
        """Return whether a manifest was added."""
        self._members.flush()
        return self._db.one("SELECT 1 FROM member WHERE digest = ?", key_of(digest)) is not None

    def unknown_roots(self) -> Iterator[Digest]:
        """Yield tagged digests that are none of the manifests; adding them meanwhile is allowed."""
        self._flush()
        query = (
            "SELECT tag, digest FROM root WHERE (tag, digest) > (?, ?) AND NOT EXISTS "
            "(SELECT 1 FROM member WHERE member.digest = root.digest) ORDER BY tag, digest LIMIT ?"
        )
        after: tuple[str, bytes] = ("", b"")
        while some := list(self._db.execute(query, *after, _AT_ONCE)):
            yield from (digest_of(key) for _, key in some)
            after = some[-1]

    # The walk records the first reason that it finds: that of the first tag, by the shortest path.

    def keep_tagged(self) -> None:
        """Keep tagged manifests, with what they list and what refers to them."""
        self._flush()
        self._keep("reason FROM root CROSS JOIN member USING (digest) ORDER BY tag, root.digest")
        self._walk()

    def keep_young(self, reason: str) -> None:
        """Keep manifests within the grace period, with what they list and what refers to them."""
        self._keep(
            "? FROM member CROSS JOIN blob USING (digest) WHERE NOT old ORDER BY member.digest",
            reason,
        )
        self._walk()

    def keep_all(self, reason: str) -> None:
        """Keep all other manifests."""
        self._keep("? FROM member ORDER BY digest", reason)

    def _keep(self, what: str, *parameters: object) -> None:
        self._kept += self._db.fill(f"{_KEEP} {what}", *parameters)

    def _walk(self) -> None:
        """Follow the edges from everything that is kept, breadth first."""
        walked = 0
        while walked < self._kept:
            until = min(self._kept, walked + _STEP)
            self._kept += self._db.fill(_EXPAND, walked, until)
            walked = until

    def _flush(self) -> None:
        for rows in (self._members, self._named, self._edges, self._roots):
            rows.flush()
