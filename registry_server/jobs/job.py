"""The job that a server sends to its collector process.

A separate module, so that a server does not import what only the collector needs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

# Seconds between two heartbeats, which are empty lines.
BEAT_SECONDS = 5.0
# Seconds without a line after which the process counts as hung.
HUNG_SECONDS = 60.0
# Exit code of the process if another collection is running.
SKIPPED = 75


@dataclass(frozen=True, slots=True)
class CollectionJob:
    """The storage and the options of a collection; `interval` and `grace` are in seconds."""

    root: str
    fsync: bool
    interval: float
    grace: float
    delete_untagged: bool

    def line(self) -> bytes:
        """Return the job as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"
