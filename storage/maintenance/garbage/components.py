"""The manifests of a repository that go, divided into families: what hangs together (`families`).

Most hang on nothing that goes as well: those are written by one statement, each as a family of its
own. The others are read one family at a time, as numbers, which keep the order of the digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from storage.maintenance.database import Database
from storage.maintenance.garbage.families import ordered
from storage.maintenance.garbage.graph import REFERRER

SCHEMA = """
-- The manifests of the repository that is being marked that go, numbered by digest.
CREATE TABLE doomed (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
-- The edges of the graph whose ends both go.
CREATE TABLE tie (
    upper INTEGER, place INTEGER, lower INTEGER, PRIMARY KEY (upper, place, lower)
) WITHOUT ROWID;
CREATE INDEX tie_lower ON tie (lower, upper);
-- Those that have any: to which family they belong, and in which order it goes.
CREATE TABLE placed (id INTEGER PRIMARY KEY, family INTEGER, rank INTEGER, knot INTEGER);
"""
_TABLES = ("doomed", "tie", "placed")
_DOOMED = """
INSERT INTO doomed (digest) SELECT digest FROM member
WHERE NOT EXISTS (SELECT 1 FROM kept WHERE kept.digest = member.digest) ORDER BY digest
"""
_TIES = """
INSERT INTO tie SELECT upper.id, edge.place, lower.id FROM doomed AS upper
CROSS JOIN edge ON edge.upper = upper.digest CROSS JOIN doomed AS lower ON lower.digest = edge.lower
"""
_ALONE = """
INSERT OR REPLACE INTO manifest (repository, digest, family, rank, knot)
SELECT ?, digest, ? + id, 0, 0 FROM doomed
WHERE NOT EXISTS (SELECT 1 FROM tie WHERE upper = id)
    AND NOT EXISTS (SELECT 1 FROM tie WHERE lower = id)
"""
_TOGETHER = """
INSERT OR REPLACE INTO manifest (repository, digest, family, rank, knot)
SELECT ?, digest, family, rank, knot FROM placed CROSS JOIN doomed USING (id)
"""
_HANGS_ON = """
INSERT OR IGNORE INTO hangs_on SELECT family, upper.digest, lower.digest FROM tie
CROSS JOIN placed ON placed.id = tie.upper CROSS JOIN doomed AS upper ON upper.id = tie.upper
CROSS JOIN doomed AS lower ON lower.id = tie.lower
"""
_NEXT = """
SELECT DISTINCT upper FROM tie WHERE upper > ?
AND NOT EXISTS (SELECT 1 FROM placed WHERE placed.id = upper) ORDER BY upper LIMIT 1
"""

# What hangs directly on each member of a family, with its place in the list of that.
_Family: TypeAlias = Mapping[int, list[tuple[int, int]]]


class Components:
    """Divides what goes of one repository after the other."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Families have numbers above it.
        self._last = 0

    def divide(self, repository: int) -> None:
        """Write down every manifest of the graph that is not kept, by family."""
        doomed = self._db.fill(_DOOMED)
        if not doomed:
            return
        if self._db.fill(_TIES):
            for family in self._families():
                self._place(family)
            self._db.fill(_TOGETHER, repository)
            self._db.fill(_HANGS_ON)
        self._db.fill(_ALONE, repository, self._last)
        self._last += doomed
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants of this module

    def _families(self) -> Iterator[_Family]:
        """Yield each family of several; a caller places one before it asks for the next."""
        after = 0
        while found := self._db.one(_NEXT, after):
            (after,) = found
            yield self._family(after)

    def _family(self, start: int) -> _Family:
        found: dict[int, list[tuple[int, int]]] = {}
        waiting = [start]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found[one] = self._below(one)
                waiting += [lower for _, lower in found[one]]
                waiting += self._above(one)
        return found

    def _below(self, one: int) -> list[tuple[int, int]]:
        query = "SELECT place, lower FROM tie WHERE upper = ? ORDER BY place, lower"
        return self._db.execute(query, one).fetchall()

    def _above(self, one: int) -> list[int]:
        return [
            upper for (upper,) in self._db.execute("SELECT upper FROM tie WHERE lower = ?", one)
        ]

    def _place(self, family: _Family) -> None:
        members = sorted(family)
        number = self._last + members[0]
        children = {
            upper: [lower for place, lower in family[upper] if place < REFERRER]
            for upper in members
        }
        hangs_on = ((upper, lower) for upper in members for _, lower in family[upper])
        knots = enumerate(ordered(members, children, hangs_on))
        places = enumerate((one, knot) for knot, some in knots for one in some)
        rows = ((one, number, rank, knot) for rank, (one, knot) in places)
        self._db.many("INSERT INTO placed VALUES (?, ?, ?, ?)", rows)
