"""The changes that a driver publishes, in steps.

    publish(step, step, …)      the changes of one step have no order among themselves

No change is visible, or survives a power failure, before all changes of the earlier steps are
durable. Only a `PutUnsynced` is never durable. So a link is published one step after its target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Put:
    """Replace the content of a file, atomically and durably."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class PutUnsynced:
    """Replace the content of a file atomically, without fsync.

    For files that are recreated when a power failure removed or damaged them.
    """

    path: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Appear:
    """Create a folder atomically, with `files`, whose names are relative to it.

    Changes nothing if the folder exists and is not empty.
    """

    path: str
    files: Mapping[str, bytes]


Change: TypeAlias = Put | PutUnsynced | Appear
Step: TypeAlias = tuple[Change, ...]
