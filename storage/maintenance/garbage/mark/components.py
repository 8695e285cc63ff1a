"""The manifests of a repository that are to be removed, divided into connected components.

Most have no edge to another one that is to be removed: one statement writes them, each as a
component of its own. The others are read one component at a time, as numbers that keep the order of
the digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from storage.maintenance.database import Database
from storage.maintenance.garbage.mark.manifest_graph import REFERRER
from storage.maintenance.garbage.mark.removal_order import removal_order

SCHEMA = """
-- The unmarked manifests of the repository being marked, numbered by digest.
CREATE TABLE unmarked (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
-- The edges of the graph between two unmarked manifests.
CREATE TABLE inner_edge (
    upper INTEGER, place INTEGER, lower INTEGER, PRIMARY KEY (upper, place, lower)
) WITHOUT ROWID;
CREATE INDEX inner_edge_lower ON inner_edge (lower, upper);
-- Those with such an edge: their component, and their place in its removal order.
CREATE TABLE placed (id INTEGER PRIMARY KEY, component INTEGER, rank INTEGER, unit INTEGER);
"""
_TABLES = ("unmarked", "inner_edge", "placed")
_UNMARKED = """
INSERT INTO unmarked (digest) SELECT digest FROM member
WHERE NOT EXISTS (SELECT 1 FROM kept WHERE kept.digest = member.digest) ORDER BY digest
"""
_INNER_EDGES = """
INSERT INTO inner_edge SELECT upper.id, edge.place, lower.id FROM unmarked AS upper
CROSS JOIN edge ON edge.upper = upper.digest
CROSS JOIN unmarked AS lower ON lower.digest = edge.lower
"""
_SINGLES = """
INSERT OR REPLACE INTO manifest (repository, digest, component, rank, unit)
SELECT ?, digest, ? + id, 0, 0 FROM unmarked
WHERE NOT EXISTS (SELECT 1 FROM inner_edge WHERE upper = id)
    AND NOT EXISTS (SELECT 1 FROM inner_edge WHERE lower = id)
"""
_PLACED = """
INSERT OR REPLACE INTO manifest (repository, digest, component, rank, unit)
SELECT ?, digest, component, rank, unit FROM placed CROSS JOIN unmarked USING (id)
"""
_RETAINS = """
INSERT OR IGNORE INTO retains SELECT component, upper.digest, lower.digest FROM inner_edge
CROSS JOIN placed ON placed.id = inner_edge.upper
CROSS JOIN unmarked AS upper ON upper.id = inner_edge.upper
CROSS JOIN unmarked AS lower ON lower.id = inner_edge.lower
"""
_NEXT = """
SELECT DISTINCT upper FROM inner_edge WHERE upper > ?
AND NOT EXISTS (SELECT 1 FROM placed WHERE placed.id = upper) ORDER BY upper LIMIT 1
"""

# What each node of a component retains directly, with its place in the node's list.
_Component: TypeAlias = Mapping[int, list[tuple[int, int]]]


class Components:
    """Divides the unmarked manifests of repositories, one repository at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Components have numbers above it.
        self._last = 0

    def mark_for_removal(self, repository: int) -> None:
        """Record every manifest of the graph that is not kept, by component."""
        unmarked = self._db.fill(_UNMARKED)
        if not unmarked:
            return
        if self._db.fill(_INNER_EDGES):
            for component in self._components():
                self._place(component)
            self._db.fill(_PLACED, repository)
            self._db.fill(_RETAINS)
        self._db.fill(_SINGLES, repository, self._last)
        self._last += unmarked
        for table in _TABLES:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants of this module

    def _components(self) -> Iterator[_Component]:
        """Yield each component with edges; the caller places one before it takes the next."""
        start = 0
        while row := self._db.one(_NEXT, start):
            (start,) = row
            yield self._component(start)

    def _component(self, start: int) -> _Component:
        component: dict[int, list[tuple[int, int]]] = {}
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node not in component:
                component[node] = self._below(node)
                waiting += [lower for _, lower in component[node]]
                waiting += self._above(node)
        return component

    def _below(self, node: int) -> list[tuple[int, int]]:
        query = "SELECT place, lower FROM inner_edge WHERE upper = ? ORDER BY place, lower"
        return self._db.execute(query, node).fetchall()

    def _above(self, node: int) -> list[int]:
        rows = self._db.execute("SELECT upper FROM inner_edge WHERE lower = ?", node)
        return [upper for (upper,) in rows]

    def _place(self, component: _Component) -> None:
        nodes = sorted(component)
        number = self._last + nodes[0]
        children = {
            upper: [lower for place, lower in component[upper] if place < REFERRER]
            for upper in nodes
        }
        retains = ((upper, lower) for upper in nodes for _, lower in component[upper])
        units = enumerate(removal_order(nodes, children, retains))
        places = enumerate((node, unit) for unit, some in units for node in some)
        rows = ((node, number, rank, unit) for rank, (node, unit) in places)
        self._db.many("INSERT INTO placed VALUES (?, ?, ?, ?)", rows)
