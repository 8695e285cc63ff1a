"""Token buckets: a burst, then a rate per second.

A bucket is stored as the time when it will be full again (the "generic cell rate algorithm"), in
whole nanoseconds, so that rounding loses nothing. Full buckets need no entry.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 16_384
_SECOND = 10**9


class Buckets:
    """A bucket for each key, with a capacity of `burst` and `rate` tokens a second, both positive.

    The `most` buckets that were used last are kept; a discarded one starts full.
    """

    def __init__(
        self,
        rate: int,
        burst: int,
        *,
        most: int = _MOST,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._step = -(-_SECOND // rate)
        self._slack = (burst - 1) * self._step
        self._most = most
        self._clock = clock
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def wait(self, key: str) -> int:
        """Return the nanoseconds until a token is available; 0 if one is."""
        return max(0, self._full_at.get(key, 0) - self._clock() - self._slack)

    def take(self, key: str) -> None:
        """Take a token; `wait` must have returned 0."""
        self._full_at[key] = max(self._full_at.get(key, 0), self._clock()) + self._step
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
