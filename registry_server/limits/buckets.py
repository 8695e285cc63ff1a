"""Token buckets: so many at once, and then so many a second.

Of a bucket only the moment is kept at which it will be full again (the "generic cell rate
algorithm"), in whole nanoseconds, so that nothing is lost to rounding. A full one need not be kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 16_384
_SECOND = 10**9


class Buckets:
    """A bucket for each key, which holds `burst` and gets `rate` a second; both are positive.

    The `most` that were used last are kept; one that is forgotten is full again.
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
        """Return in how many nanoseconds there will be one to take; 0 when there is one now."""
        return max(0, self._full_at.get(key, 0) - self._clock() - self._slack)

    def take(self, key: str) -> None:
        """Take one, which `wait` has found."""
        self._full_at[key] = max(self._full_at.get(key, 0), self._clock()) + self._step
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
