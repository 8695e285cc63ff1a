"""When a file's ctime is sure to differ after the next change, so that its content can be cached.

The kernel sets a ctime by a clock that advances every few milliseconds, so two changes may get the
same one. If the last change is old, by the same clock, when reading begins, every later change gets
another ctime. Filesystems that store whole seconds are not trusted.
"""

from __future__ import annotations

import os
import time

# CLOCK_REALTIME_COARSE, for which `time` has no name: the clock from which Linux sets ctimes.
STAMPING_CLOCK = 5
_SECOND_NS = 1_000_000_000
# The clock advances every 1 to 10 ms.
SETTLED_NS = 2 * _SECOND_NS


def is_settled(stat_result: os.stat_result) -> bool:
    """Return whether a change that begins now will get another ctime than the last one."""
    age = time.clock_gettime_ns(STAMPING_CLOCK) - stat_result.st_ctime_ns
    return age >= SETTLED_NS and stat_result.st_ctime_ns % _SECOND_NS != 0
