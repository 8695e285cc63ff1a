"""The limits of a repository."""

from __future__ import annotations

from typing import Any

import pytest

from registry_server.config.limits import Limits as Section
from registry_server.config.validation import Invalid, validated
from registry_server.limits.repositories import MOST_UPLOADS, RepositoryLimits
from storage.repository.quotas import Limits
from storage.values.names import RepositoryName


def _of(name: str, *entries: dict[str, Any]) -> Limits:
    section = validated(Section, {"repositories": entries})
    return RepositoryLimits(section.repositories)(RepositoryName.parse(name))


ALL = {"repositories": ["**"], "bytes": "10GB", "uploads": 20}
TEAM = {"repositories": ["team/**", "other/*"], "bytes": "2GiB"}
BIG = {"repositories": ["team/big"], "bytes": "0"}
STARS = {"repositories": ["team/a*"], "bytes": "5", "uploads": 9}
TWINS = {"repositories": ["team/*z"], "bytes": "4", "uploads": 0}


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("app", Limits(10**10, 20)),
        ("other/app", Limits(2 << 30, 20)),
        ("other/app/below", Limits(10**10, 20)),
        ("team", Limits(10**10, 20)),
        ("team/app/below", Limits(2 << 30, 20)),
        ("team/big", Limits(0, 20)),
        ("team/ab", Limits(5, 9)),
        ("team/bz", Limits(4, 0)),
        ("team/az", Limits(4, 9)),
    ],
)
def test_the_most_specific_entry_with_a_limit_decides(name: str, limits: Limits) -> None:
    """Each kind separately; of equally specific ones the stricter applies, in any order."""
    entries = (ALL, TEAM, BIG, STARS, TWINS)
    assert _of(name, *entries) == _of(name, *reversed(entries)) == limits


def test_repositories_without_an_entry_have_no_limit() -> None:
    """Nor do those whose entry lifts it."""
    assert not _of("app", TEAM)
    assert not _of("team/big", BIG)
    assert _of("team/app", TEAM)


def test_a_limit_of_bytes_implies_a_limit_of_uploads() -> None:
    """Every reservation reads all uploads; an entry can raise or lift the limit."""
    assert _of("team/app", TEAM) == Limits(2 << 30, MOST_UPLOADS)
    assert _of("team/app", TEAM | {"uploads": 2000}).uploads == 2000
    assert _of("team/app", TEAM | {"uploads": 0}).uploads == 0


@pytest.mark.parametrize("value", [True, 1.5, None, ""])
def test_invalid_sizes_are_refused(value: object) -> None:
    """Also those that could be mistaken for another limit or for none."""
    with pytest.raises(Invalid):
        validated(Section, {"repositories": [{"repositories": ["a"], "bytes": value}]})


def test_less_than_a_byte_is_not_zero() -> None:
    """Zero would lift the limit."""
    assert _of("a", {"repositories": ["a"], "bytes": "0.4"}).bytes == 1
