"""`limits.repositories`: limits of each repository."""

from __future__ import annotations

import pytest

from tests.config.conftest import Read, Refuse


def test_sizes_are_parsed(read: Read) -> None:
    """With and without units."""
    gib, bare = "{repositories: [a], bytes: 1.5 GiB}", "{repositories: [b], bytes: 7}"
    entries = read(
        f"version: 0.1\nlimits: {{repositories: [{gib}, {bare}]}}"
    ).settings.limits.repositories
    assert [one.bytes for one in entries] == [3 << 29, 7]


@pytest.mark.parametrize("entries", ["[]", ""])
def test_no_entries_are_no_limits(read: Read, entries: str) -> None:
    """An empty list is the same as no key."""
    assert (
        read(f"version: 0.1\nlimits: {{repositories: {entries}}}").settings.limits.repositories
        == ()
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{bytes: 1GB}", "repositories is required"),
        ("{repositories: [], bytes: 1GB}", "repositories must not be empty"),
        ("{repositories: , bytes: 1GB}", "repositories is required"),
        ("{repositories: [a]}", "needs bytes or uploads"),
        ("{repositories: [a], bytes: , uploads: }", "needs bytes or uploads"),
        ("{repositories: [a], bytes: lots}", "bytes must be a number of bytes, such as 50MB"),
        ("{repositories: [a], bytes: -1}", "bytes must be a number of bytes"),
        ("{repositories: [a], bytes: 50MB/s}", "bytes must be a number of bytes"),
        ("{repositories: [a], bytes: [1]}", "bytes must be a number of bytes"),
        ("{repositories: [a], uploads: -1}", "uploads must be at least 0"),
        ("{repositories: [a], uploads: 1GB}", "uploads must be a whole number"),
        ("{repositories: ['home/{user}/**'], bytes: 1}", "must not contain {user}"),
        ("{repositories: [Team], bytes: 1}", "must be a glob of repository names"),
        ("{repositories: [a**], bytes: 1}", "must have ** as a whole component"),
        ("{repositories: [a], size: 1}", "size is not a known key"),
        ("{repositories: a, bytes: 1}", "repositories must be a list, such"),
    ],
)
def test_a_mistake_has_its_place(refuse: Refuse, entry: str, problem: str) -> None:
    """The message has the line and the key."""
    (line,) = refuse(f"version: 0.1\nlimits: {{repositories: [{entry}]}}")
    assert line.startswith("config.yml, line 2: limits.repositories[0]")
    assert problem in line
