"""The manifests of one repository, by what names what, and the walk from its tags to what stays.

They may be a million, so all of it is in the database (`database`), and a walk is a queue in a
table: no object of Python is held for each manifest. One repository at a time: `clear` it before
the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage.maintenance.database import Database
from storage.maintenance.digest_keys import digest_of, key_of
from storage.maintenance.garbage.needs import Needs
from storage.maintenance.garbage.row_buffer import RowBuffer
from storage.values.digest import Digest
from storage.values.names import Tag

SCHEMA = """
-- The manifests of the repository that is being marked, numbered as they come, and what each names:
-- that is by far the most, and is written to the end of its table.
CREATE TABLE member (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
CREATE TABLE named (
    manifest INTEGER, digest BLOB, PRIMARY KEY (manifest, digest)
) WITHOUT ROWID;
-- If `upper` stays, so does `lower`: its child at this place of its list, or what refers to it.
CREATE TABLE edge (
    upper BLOB, place INTEGER, lower BLOB, PRIMARY KEY (upper, place, lower)
) WITHOUT ROWID;
-- Where tags lead, or may lead.
CREATE TABLE root (
    tag TEXT, digest BLOB, reason TEXT, PRIMARY KEY (tag, digest)
) WITHOUT ROWID;
-- What stays, in the order in which it was found, and why: `above` is what it was found by.
CREATE TABLE kept (
    place INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, reason TEXT NOT NULL, above BLOB
);
"""
TABLES = ("member", "named", "edge", "root", "kept")
# The place of referrers is behind that of all children.
REFERRER = 1 << 32
LISTED, REFERS = "listed by", "refers to"

_AT_ONCE = 100
# Rows of the queue that one statement takes further. Their order is that of the queue, so it does
# not matter where a step ends.
_STEP = 10_000
_FURTHER = f"""
INSERT OR IGNORE INTO kept (digest, reason, above)
SELECT edge.lower, iif(edge.place < {REFERRER}, '{LISTED}', '{REFERS}'), edge.upper
FROM kept AS upper CROSS JOIN edge ON edge.upper = upper.digest
WHERE upper.place > ? AND upper.place <= ?
    AND EXISTS (SELECT 1 FROM member WHERE member.digest = edge.lower)
ORDER BY upper.place, edge.place, edge.lower
"""  # noqa: S608 - constants of this module
_KEEP = "INSERT OR IGNORE INTO kept (digest, reason) SELECT member.digest,"


class Graph:
    """Manifests and tags of one repository."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._members = RowBuffer(db, "INSERT OR IGNORE INTO member VALUES (?, ?)")
        self._named = RowBuffer(db, "INSERT OR IGNORE INTO named VALUES (?, ?)")
        self._edges = RowBuffer(db, "INSERT OR IGNORE INTO edge VALUES (?, ?, ?)")
        self._roots = RowBuffer(db, "INSERT OR IGNORE INTO root VALUES (?, ?, ?)")
        self._last = self._found = 0

    def clear(self) -> None:
        """Forget the repository."""
        for table in TABLES:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants of this module
        self._last = self._found = 0

    def add(self, digest: Digest, needs: Needs | None) -> None:
        """Take a manifest in, with what it needs; None when that can't be read."""
        key = key_of(digest)
        self._last += 1
        self._members.add(((self._last, key),))
        if needs is None:
            return
        children = map(key_of, needs.children)
        self._named.add((self._last, key_of(blob)) for blob in needs.blobs)
        self._edges.add((key, place, child) for place, child in enumerate(children))
        if needs.subject is not None:
            self._edges.add(((key_of(needs.subject), REFERRER, key),))

    def add_root(self, tag: Tag, digest: Digest, reason: str) -> None:
        """Take in that a tag leads or may lead to a manifest, which stays for this reason."""
        self._roots.add(((tag.text, key_of(digest), reason),))

    def has(self, digest: Digest) -> bool:
        """Tell whether a manifest was taken in."""
        self._members.flush()
        return self._db.one("SELECT 1 FROM member WHERE digest = ?", key_of(digest)) is not None

    def strangers(self) -> Iterator[Digest]:
        """Yield where tags lead that is none of the manifests; they may be added meanwhile."""
        self._flush()
        query = (
            "SELECT tag, digest FROM root WHERE (tag, digest) > (?, ?) AND NOT EXISTS "
            "(SELECT 1 FROM member WHERE member.digest = root.digest) ORDER BY tag, digest LIMIT ?"
        )
        after: tuple[str, bytes] = ("", b"")
        while some := list(self._db.execute(query, *after, _AT_ONCE)):
            yield from (digest_of(key) for _, key in some)
            after = some[-1]

    # The walk. Of several reasons the first one holds: by the first tag, and near to it.

    def keep_tagged(self) -> None:
        """Have stay what tags lead to, with what that lists and what refers to it."""
        self._flush()
        self._keep("reason FROM root CROSS JOIN member USING (digest) ORDER BY tag, root.digest")
        self._walk()

    def keep_young(self, reason: str) -> None:
        """Have stay what the survey found too young to go, with what hangs on it."""
        self._keep(
            "? FROM member CROSS JOIN blob USING (digest) WHERE NOT old ORDER BY member.digest",
            reason,
        )
        self._walk()

    def keep_all(self, reason: str) -> None:
        """Have everything stay that does not yet."""
        self._keep("? FROM member ORDER BY digest", reason)

    def _keep(self, what: str, *given: object) -> None:
        self._found += self._db.fill(f"{_KEEP} {what}", *given)

    def _walk(self) -> None:
        """Go on from all that was found, first come, first served."""
        walked = 0
        while walked < self._found:
            until = min(self._found, walked + _STEP)
            self._found += self._db.fill(_FURTHER, walked, until)
            walked = until

    def _flush(self) -> None:
        for rows in (self._members, self._named, self._edges, self._roots):
            rows.flush()
