"""The database of a collection: a part for each table or group of tables.

A registry may hold millions of blobs, so what a collection knows is on disk (`database`). No query
sorts rows whose number grows with the blobs: each follows an index. Digests are stored as bytes,
which take half the space of text and have the same order.
"""

from __future__ import annotations

from storage.maintenance.database import Database
from storage.maintenance.garbage.mark import candidates, components, manifest_graph, marks
from storage.maintenance.garbage.mark.candidates import Candidates
from storage.maintenance.garbage.mark.components import Components
from storage.maintenance.garbage.mark.manifest_graph import Graph
from storage.maintenance.garbage.mark.marks import Marks
from storage.maintenance.garbage.survey import surveyed_blobs
from storage.maintenance.garbage.survey.surveyed_blobs import SurveyedBlobs
from storage.maintenance.garbage.sweep import leftover_queue
from storage.maintenance.garbage.sweep.leftover_queue import LeftoverQueue

_PARTS = (surveyed_blobs, manifest_graph, components, marks, candidates, leftover_queue)
SCHEMA = "".join(part.SCHEMA for part in _PARTS)


class CollectionDatabase:
    """What one collection knows. Calls block, and come one at a time, from any thread."""

    def __init__(self, schema: str = SCHEMA) -> None:
        self._db = Database(schema)
        self.blobs = SurveyedBlobs(self._db)
        self.graph = Graph(self._db)
        self.components = Components(self._db)
        self.marks = Marks(self._db)
        self.candidates = Candidates(self._db)
        self.leftovers = LeftoverQueue(self._db)

    def close(self) -> None:
        """Delete the database; calling it twice does nothing."""
        self._db.close()
