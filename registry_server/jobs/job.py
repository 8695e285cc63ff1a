"""What a server tells the process that collects garbage for it.

A module of its own: servers need it, and keep nothing in memory of what only a collector imports.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

# Seconds between two signs of life, which are empty lines.
BEAT_SECONDS = 5.0
# Seconds without a line after which the process counts as hung.
HUNG_SECONDS = 60.0
# Exit code of the process when another collection is running.
SKIPPED = 75


@dataclass(frozen=True, slots=True)
class Job:
    """What to collect, and how: `interval` and `grace` are seconds."""

    root: str
    fsync: bool
    interval: float
    grace: float
    delete_untagged: bool

    def line(self) -> bytes:
        """Return the job as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
