"""Removal order: no manifest is removed while one that retains it is kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from storage.maintenance.garbage.mark.removal_order import (
    Pair,
    RemovalUnit,
    reachable,
    removal_order,
    successors,
)
from storage.values.digest import Digest

MEMBERS = tuple(Digest.of(b"%d" % number) for number in range(8))
PAIRS = st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from(MEMBERS)), max_size=20)
# A manifest lists only older ones: never itself, never in a cycle.
LISTED = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] > pair[1]),
    max_size=12,
)


def units_of(retains: Sequence[Pair], listed: Sequence[tuple[int, int]] = ()) -> list[RemovalUnit]:
    """Return all units, in order."""
    children = {one: [MEMBERS[low] for up, low in listed if MEMBERS[up] == one] for one in MEMBERS}
    listing = [(MEMBERS[up], MEMBERS[low]) for up, low in listed]
    return list(removal_order(MEMBERS, children, [*retains, *listing]))


@given(retains=PAIRS, listed=LISTED)
def test_each_manifest_is_in_one_unit(
    retains: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """Each manifest is removed exactly once."""
    units = units_of(retains, listed)
    assert sorted((member for unit in units for member in unit), key=str) == sorted(
        MEMBERS, key=str
    )


@given(retains=PAIRS, listed=LISTED)
def test_retained_manifests_are_removed_last(
    retains: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """The first of a pair is removed before the second, or in the same unit."""
    place = {one: at for at, unit in enumerate(units_of(retains, listed)) for one in unit}
    assert all(place[upper] <= place[lower] for upper, lower in retains)


@given(retains=PAIRS, listed=LISTED)
def test_manifests_of_a_unit_retain_one_another(
    retains: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """Units are minimal, so that the lock is held for a short time."""
    downwards = successors([*retains, *((MEMBERS[up], MEMBERS[low]) for up, low in listed)])
    for unit in units_of(retains, listed):
        assert all(set(unit) <= reachable((one,), downwards) for one in unit)


@given(retains=PAIRS, listed=LISTED)
def test_an_index_is_removed_before_its_children(
    retains: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """This holds within a unit too: a power cut leaves no index without a child."""
    order = [one for unit in units_of(retains, listed) for one in unit]
    assert all(order.index(MEMBERS[up]) < order.index(MEMBERS[low]) for up, low in listed)


def test_a_long_chain_has_units_of_one() -> None:
    """A chain of ten thousand manifests has ten thousand units."""
    chain = [Digest.of(b"%d" % number) for number in range(10_000)]
    pairs = list(itertools.pairwise(chain))
    units = removal_order(reversed(chain), {}, pairs)
    assert tuple(units) == tuple((one,) for one in chain)
