"""Families of manifests: in an order in which they can go, and nobody left behind who is needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from storage.maintenance.garbage.families import Knot, Pair, below, ordered, reached
from storage.values.digest import Digest

MEMBERS = tuple(Digest.of(b"%d" % number) for number in range(8))
PAIRS = st.lists(st.tuples(st.sampled_from(MEMBERS), st.sampled_from(MEMBERS)), max_size=20)
# A manifest lists others that were there before it: never itself, never in a circle.
LISTED = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] > pair[1]),
    max_size=12,
)


def grouped(hangs_on: Sequence[Pair], listed: Sequence[tuple[int, int]] = ()) -> list[Knot]:
    """Return all knots, in order."""
    children = {one: [MEMBERS[low] for up, low in listed if MEMBERS[up] == one] for one in MEMBERS}
    listing = [(MEMBERS[up], MEMBERS[low]) for up, low in listed]
    return list(ordered(MEMBERS, children, [*hangs_on, *listing]))


@given(hangs_on=PAIRS, listed=LISTED)
def test_everyone_is_in_one_knot(
    hangs_on: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """Nobody is forgotten, and nobody goes twice."""
    knots = grouped(hangs_on, listed)
    assert sorted((one for knot in knots for one in knot), key=str) == sorted(MEMBERS, key=str)


@given(hangs_on=PAIRS, listed=LISTED)
def test_what_hangs_on_a_manifest_is_there_until_it_goes(
    hangs_on: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """Of a pair the first goes before the second, or in the same instant."""
    place = {one: at for at, knot in enumerate(grouped(hangs_on, listed)) for one in knot}
    assert all(place[upper] <= place[lower] for upper, lower in hangs_on)


@given(hangs_on=PAIRS, listed=LISTED)
def test_who_shares_a_knot_hangs_on_each_other(
    hangs_on: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """A hold is no longer than it has to be."""
    downwards = below([*hangs_on, *((MEMBERS[up], MEMBERS[low]) for up, low in listed)])
    for knot in grouped(hangs_on, listed):
        assert all(set(knot) <= reached((one,), downwards) for one in knot)


@given(hangs_on=PAIRS, listed=LISTED)
def test_an_index_goes_before_what_it_lists(
    hangs_on: Sequence[Pair], listed: Sequence[tuple[int, int]]
) -> None:
    """Also within a knot: when the power goes no index is left without a child."""
    order = [one for knot in grouped(hangs_on, listed) for one in knot]
    assert all(order.index(MEMBERS[up]) < order.index(MEMBERS[low]) for up, low in listed)


def test_a_chain_is_cut_anywhere() -> None:
    """A family of ten thousand that hang one on the other has ten thousand knots."""
    chain = [Digest.of(b"%d" % number) for number in range(10_000)]
    pairs = list(itertools.pairwise(chain))
    family = ordered(reversed(chain), {}, pairs)
    assert tuple(family) == tuple((one,) for one in chain)
