"""Which boot of the machine this is: what was not synced before another one may be lost."""

from __future__ import annotations

import uuid
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def this_boot() -> str:
    """Name this boot; where it has no name, this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex
