"""Pushes beside collections for half a minute: nothing is lost, and all space is freed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import pytest

from tests.race.course import Plan, race

pytestmark = [pytest.mark.race, pytest.mark.live, pytest.mark.timeout(240)]

# The minimum counts of half a minute on a busy machine.
_AT_LEAST: Mapping[str, int] = {
    "pushes": 150,
    "tags set": 100,
    "pulls": 50,
    "uploads": 50,
    "blobs left out": 50,
    "children left out": 10,
    "mounts": 10,
    "anonymous mounts": 10,
    "retags": 3,
    "signatures": 5,
    "lists of referrers": 5,
    "lists of tags": 5,
    "tags deleted": 5,
    "manifests deleted": 5,
    "blobs deleted": 3,
    "images deleted and pushed again": 3,
    "collections swept": 5,
    "servers killed": 1,
    "collected blobs": 10,
    "collected links": 10,
    "collected spared": 1,
}


def _assert_exercised(counts: Mapping[str, int], at_least: Mapping[str, int]) -> None:
    lacking = {what: counts[what] for what, least in at_least.items() if counts[what] < least}
    assert not lacking, f"too little happened: {lacking} of {dict(counts)}"


def test_nothing_is_lost_and_all_space_is_freed() -> None:
    """All promises hold while collections delete untagged manifests too."""
    seed = secrets.randbelow(1 << 32)
    outcome = race(Plan(seed, seconds=30, servers=1 + seed % 2))
    assert outcome.violations == 0, outcome.told
    _assert_exercised(outcome.counts, {**_AT_LEAST, "collected manifests": 10})


@pytest.mark.parametrize("fault", ["blind", "childless", "impatient"])
def test_a_faulty_collector_is_detected(fault: str) -> None:
    """A collector without a barrier, lock, recheck, children or grace period loses content."""
    outcome = race(Plan(seed=1, seconds=60, kills=0, faults=(fault,)))
    assert outcome.violations > 0, f"{fault}: {outcome.counts}"
