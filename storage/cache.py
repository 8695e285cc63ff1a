"""A bounded memory of facts about content: bytes named by a digest never change.

Never put membership here alone. Whether a repository holds something is asked of the disk each
time; a registry that cached it served deleted content to strangers (CVE-2026-35172). What a link
said may stand here beside its `Mark`, by which the disk is asked.

A limit is a number of bytes, and a cost is what the interpreter allocates. Clients choose both the
number of entries and their lengths, so a limit on one of the two does not bound the memory.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# Bytes that an entry takes beside its key and its value. CPython 3.11 allocates 170 to 200.
ENTRY_BYTES = 224
# Bytes of a digest with its texts, if its algorithm is the longest.
DIGEST_BYTES = 288


class Lru(Generic[K, V]):
    """Keep what was used last, as long as all of it together takes at most `limit` bytes.

    `cost` returns the bytes of a value and its key. A value that takes more than the limit divided
    by `share` is not held. Worker threads may use one together.
    """

    def __init__(self, limit: int, cost: Callable[[V], int], share: int = 8) -> None:
        self._limit = limit
        self._most = limit // share
        self._cost = cost
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0

    def get(self, key: K) -> V | None:
        """Return what is held for `key`, and count that as a use."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                return None
            self._held.move_to_end(key)
            return held[0]

    def put(self, key: K, value: V) -> None:
        """Hold `value` and evict the least recently used."""
        cost = self._cost(value) + ENTRY_BYTES
        with self._lock:
            if cost > self._most:
                return
            former = self._held.pop(key, None)
            if former is not None:
                self.size -= former[1]
            self._held[key] = (value, cost)
            self.size += cost
            while self.size > self._limit:
                _, (_, evicted_cost) = self._held.popitem(last=False)
                self.size -= evicted_cost
