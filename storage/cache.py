"""A bounded memory of facts about content: bytes named by a digest never change.

Never put membership here alone. Whether a repository holds something is asked of the disk each
time; a registry that cached it served deleted content to strangers (CVE-2026-35172). What a link
said may stand here beside its `Mark`, by which the disk is asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keep what was used last, as long as all of it together costs at most `limit`.

    Worker threads may use one together.
    """

    def __init__(self, limit: int, cost: Callable[[V], int]) -> None:
        self._limit = limit
        self._cost = cost
        self._held: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0

    def get(self, key: K) -> V | None:
        """Return what is held for `key`, and count that as a use."""
        with self._lock:
            value = self._held.get(key)
            if value is not None:
                self._held.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Hold `value`, letting go of what was not used for longest; too costly a one is not."""
        cost = self._cost(value)
        with self._lock:
            if cost > self._limit // 8:
                return
            before = self._held.pop(key, None)
            if before is not None:
                self.size -= self._cost(before)
            self._held[key] = value
            self.size += cost
            while self.size > self._limit:
                _, gone = self._held.popitem(last=False)
                self.size -= self._cost(gone)
