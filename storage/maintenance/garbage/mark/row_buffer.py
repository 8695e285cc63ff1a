"""Rows for a table, written in batches."""

from __future__ import annotations

from collections.abc import Iterable

from storage.maintenance.database import Database, Row

_AT_ONCE = 100


class RowBuffer:
    """Rows for one statement. They are only sure to be in the table after `flush`."""

    def __init__(self, db: Database, query: str) -> None:
        self._db = db
        self._query = query
        self._waiting: list[Row] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, and write all that wait once there are enough."""
        self._waiting.extend(rows)
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        if self._waiting:
            self._db.many(self._query, self._waiting)
            self._waiting.clear()
