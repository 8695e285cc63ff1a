"""An LRU cache for facts about content, which never change: a digest names fixed bytes.

Never cache membership alone. Whether a repository has something is checked on disk each time; a
registry that cached it served deleted content without authorization (CVE-2026-35172). The digest
in a link may be cached together with its `FileSnapshot`, which tells whether the link changed.

Limits and costs are the bytes that the interpreter allocates. Clients choose both the number of
entries and their lengths, so a limit on only one of the two does not bound the memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Bytes of an entry without its key and value. CPython 3.11 allocates 170 to 200.
ENTRY_BYTES = 224
# Bytes of a `Digest` with its strings, for the longest algorithm.
DIGEST_BYTES = 288


class Lru(Generic[K, V]):
    """A thread-safe LRU cache whose entries together cost at most `limit` bytes.

    `cost` returns the bytes of a value and its key. A value that costs more than `limit / share`
    is not cached.
    """

    def __init__(self, limit: int, cost: Callable[[V], int], share: int = 8) -> None:
        self._limit = limit
        self._most = limit // share
        self._cost = cost
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0

    def get(self, key: K) -> V | None:
        """Return the value of `key`, which becomes the most recently used; None if missing."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V) -> None:
        """Cache `value`, and evict the least recently used entries while over the limit."""
        cost = self._cost(value) + ENTRY_BYTES
        with self._lock:
            if cost > self._most:
                return
            former = self._entries.pop(key, None)
            if former is not None:
                self.size -= former[1]
            self._entries[key] = (value, cost)
            self.size += cost
            while self.size > self._limit:
                _, (_, evicted_cost) = self._entries.popitem(last=False)
                self.size -= evicted_cost
