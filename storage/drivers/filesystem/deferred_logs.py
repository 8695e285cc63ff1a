"""Defers the log records of a thread that holds a lock until it has released the lock.

Writing to a full pipe, or to a terminal after Ctrl-S, blocks. A thread that blocked while it holds
the tree lock would block every push to every server on the storage.

One handler sits between the loggers of this package and their parent. It forwards to the parent
what it need not defer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGE = logging.getLogger("storage")
# Not registered by its name, so that no configuration of loggers changes it.
_BETWEEN = logging.Logger("storage")
# Records for one lock: a batch of a collection logs some hundred when all of it is damaged.
_MOST = 1000


class _Deferred(threading.local):
    """The deferred records of this thread; None while it defers none."""

    records: list[logging.LogRecord] | None = None
    dropped = 0


_deferred = _Deferred()


class _Handler(logging.Handler):
    """Defers or forwards a record; overrides `handle`, so that it takes no lock of its own."""

    def handle(self, record: logging.LogRecord) -> bool:
        records = _deferred.records
        if records is None:
            _forward(record)
        elif len(records) < _MOST:
            # Formatted now: an argument may be an error, which keeps its frames in memory.
            record.msg, record.args = record.getMessage(), None
            records.append(record)
        else:
            _deferred.dropped += 1
        return True


def _forward(record: logging.LogRecord) -> None:
    assert _BETWEEN.parent is not None
    _BETWEEN.parent.callHandlers(record)


@contextmanager
def deferred_logs() -> Iterator[None]:
    """Defer this thread's log records to the end of the block; must not be nested."""
    _deferred.records, _deferred.dropped = [], 0
    try:
        yield
    finally:
        records, _deferred.records = _deferred.records, None
        for record in records:
            _forward(record)
        if _deferred.dropped:
            _PACKAGE.error("%d more lines were not logged", _deferred.dropped)


_BETWEEN.addHandler(_Handler())
_BETWEEN.propagate = False
_BETWEEN.parent, _PACKAGE.parent = _PACKAGE.parent, _BETWEEN
