"""Identifies the current boot of the machine: a later boot may have lost unsynced writes."""

from __future__ import annotations

import uuid
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def this_boot() -> str:
    """Return the boot id; where the system has none, an id of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex
