"""When the times of a file or folder tell every change of it apart: the rule of all that is
remembered beside them.

A ctime is stamped with a clock that advances every few milliseconds, so two changes may get the
same one. If, by that same clock, the last change was over for long when reading begins, a change
that is not read gets another. Where times are whole seconds that can't be relied on.
"""

from __future__ import annotations

import os
import time

# CLOCK_REALTIME_COARSE, which `time` has no name for: the clock Linux stamps files with.
STAMPING_CLOCK = 5
_SECOND_NS = 1_000_000_000
# The clock advances every 1 to 10 ms.
SETTLED_NS = 2 * _SECOND_NS


def is_settled(state: os.stat_result) -> bool:
    """Tell whether a change that begins now will get another ctime than the last one."""
    age = time.clock_gettime_ns(STAMPING_CLOCK) - state.st_ctime_ns
    return age >= SETTLED_NS and state.st_ctime_ns % _SECOND_NS != 0
