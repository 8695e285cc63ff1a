"""Log records of a thread that holds a lock, written after it has released the lock.

Writing to a stream that is not read blocks: a full pipe, a terminal after Ctrl-S. A thread that
blocked with the lock of the tree would stop every push to every server on the storage.

One handler stands between the loggers of this package and their parent. It passes on to that what
it need not defer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGE = logging.getLogger("storage")
# It has no name that is looked up: what configures the loggers by name leaves it alone.
_BETWEEN = logging.Logger("storage")
# Records of one lock: a batch of a collection logs some hundred when all of it is damaged.
_MOST = 1000


class _Deferred(threading.local):
    """The records of this thread; None when it defers none."""

    records: list[logging.LogRecord] | None = None
    dropped = 0


_deferred = _Deferred()


class _Handler(logging.Handler):
    """Defers a record, or passes it on; holds no lock of its own meanwhile."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Take a record of any logger of the package; it is never refused."""
        records = _deferred.records
        if records is None:
            _pass_on(record)
        elif len(records) < _MOST:
            # Formatted now: an argument may be an error, which keeps its frames and what they hold.
            record.msg, record.args = record.getMessage(), None
            records.append(record)
        else:
            _deferred.dropped += 1
        return True


def _pass_on(record: logging.LogRecord) -> None:
    assert _BETWEEN.parent is not None
    _BETWEEN.parent.callHandlers(record)


@contextmanager
def deferred_logs() -> Iterator[None]:
    """Defer what this thread logs within the block to its end; not to be nested."""
    _deferred.records, _deferred.dropped = [], 0
    try:
        yield
    finally:
        records, _deferred.records = _deferred.records, None
        for record in records:
            _pass_on(record)
        if _deferred.dropped:
            _PACKAGE.error("%d more lines were not logged", _deferred.dropped)


_BETWEEN.addHandler(_Handler())
_BETWEEN.propagate = False
_BETWEEN.parent, _PACKAGE.parent = _PACKAGE.parent, _BETWEEN
