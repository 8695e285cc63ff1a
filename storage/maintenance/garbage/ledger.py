"""The database of a collection, by subject.

A registry may hold millions of blobs, so what a collection knows is on disk (`database`). No query
sorts rows whose number grows with the blobs: each follows an index. Digests are stored as bytes,
which take half the space of text and have the same order.
"""

from __future__ import annotations

from storage.maintenance.database import Database
from storage.maintenance.garbage import (
    components,
    eligible,
    graph,
    leftover_queue,
    marks,
    surveyed_blobs,
)
from storage.maintenance.garbage.components import Components
from storage.maintenance.garbage.eligible import Eligible
from storage.maintenance.garbage.graph import Graph
from storage.maintenance.garbage.leftover_queue import LeftoverQueue
from storage.maintenance.garbage.marks import Marks
from storage.maintenance.garbage.surveyed_blobs import SurveyedBlobs

_PARTS = (surveyed_blobs, graph, components, marks, eligible, leftover_queue)
SCHEMA = "".join(part.SCHEMA for part in _PARTS)


class Ledger:
    """What one collection knows. Calls block, and come one at a time, from any thread."""

    def __init__(self, schema: str = SCHEMA) -> None:
        self._db = Database(schema)
        self.blobs = SurveyedBlobs(self._db)
        self.graph = Graph(self._db)
        self.components = Components(self._db)
        self.marks = Marks(self._db)
        self.eligible = Eligible(self._db)
        self.leftovers = LeftoverQueue(self._db)

    def close(self) -> None:
        """Delete the database; calling it twice does nothing."""
        self._db.close()
