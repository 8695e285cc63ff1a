"""How the workers of pytest-xdist share the tests.

The tests of a file run on one worker, one after the other, and share its fixtures. So do the
tests of files that use a resource of which a machine has one. The longest groups start first.

pytest-xdist's own groups (`--dist loadgroup`) have no effect from pytest 9.2 on: they rest on a
test's id, which has become read-only.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

# Group by start of a path: the first that fits.
_GROUPS: Sequence[tuple[str, str]] = (
    # Engines, and what they store and mount.
    ("tests/clients/", "engines"),
    ("tests/image/", "engines"),
    ("tests/interchange/", "engines"),
    # Tests that measure speed or memory.
    ("tests/benchmarks/", "measured"),
)
# Groups that start first. The others follow by name, and take seconds.
_LONGEST: Sequence[str] = (
    "engines",
    "measured",
    "tests/race/test_race.py",
    "tests/switch/test_switch.py",
    "tests/storage/test_disk_errors.py",
    "tests/storage/test_killed.py",
    "tests/live/test_command_line.py",
    "tests/storage/test_growth.py",
    "tests/http1/test_patience.py",
    "tests/http1/test_pace.py",
    "tests/live/test_collections.py",
    "tests/live/test_direct_bodies.py",
)


def group_of(nodeid: str) -> str:
    """Return the group of a test; a group runs in sequence on one worker."""
    file = nodeid.partition("::")[0]
    return next((group for start, group in _GROUPS if file.startswith(start)), file)


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they start."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out groups, in the order of their first tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
