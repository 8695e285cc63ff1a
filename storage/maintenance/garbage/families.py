"""Manifests that go, grouped by what hangs together, in an order in which they can.

An index and its children, an image and its signatures: if one of them is used after all, those
stay that hang on it. They go step by step, what others hang on first. So until a manifest goes,
all that hangs on it is still there, and a family of any size needs nobody to wait for the whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from storage.digest import Digest

Pair: TypeAlias = tuple[Digest, Digest]
Below: TypeAlias = Mapping[Digest, list[Digest]]
# Manifests that hang on each other, which go in one instant or stay.
Knot: TypeAlias = tuple[Digest, ...]


def families(
    doomed: Iterable[Digest], children: Mapping[Digest, Sequence[Digest]], hangs_on: Iterable[Pair]
) -> Iterator[tuple[Knot, ...]]:
    """Group `doomed`; a pair of `hangs_on` says that if the first stays, the second does too.

    A family comes as its knots, each before those that hang on it; in a knot a manifest comes
    before its `children`, so that none is left without one when the power goes.
    """
    pairs = list(hangs_on)
    downwards, neighbours = below(pairs), below((*pairs, *((low, up) for up, low in pairs)))
    seen: set[Digest] = set()
    for digest in doomed:
        if digest not in seen:
            together = reached((digest,), neighbours)
            seen |= together
            knots = _knots(sorted(together, key=str), downwards)
            yield tuple(_listing_first(knot, children) for knot in knots)


def below(hangs_on: Iterable[Pair]) -> Below:
    """Return what hangs directly on each manifest that anything hangs on."""
    found: dict[Digest, list[Digest]] = defaultdict(list)
    for upper, lower in hangs_on:
        found[upper].append(lower)
    return dict(found)


def reached(start: Iterable[Digest], downwards: Below) -> set[Digest]:
    """Return `start` and all that hangs on it, however far below."""
    found: set[Digest] = set()
    waiting = list(start)
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting += downwards.get(digest, ())
    return found


def _knots(members: Iterable[Digest], downwards: Below) -> list[list[Digest]]:
    """Order the strongly connected components, each before those below it (Kosaraju's way)."""
    order = _left_last(members, downwards)
    upwards = below((low, up) for up, lows in downwards.items() for low in lows)
    knots: list[list[Digest]] = []
    done: set[Digest] = set()
    for digest in reversed(order):
        if digest not in done:
            knot = _reached_anew(digest, upwards, done)
            done.update(knot)
            knots.append(knot)
    return knots


def _listing_first(knot: Sequence[Digest], children: Mapping[Digest, Sequence[Digest]]) -> Knot:
    """Order a knot so that each manifest comes before its children; none can list itself."""
    members = set(knot)
    inner = {one: [child for child in children[one] if child in members] for one in knot}
    return tuple(reversed(_left_last(knot, inner)))


def _left_last(members: Iterable[Digest], downwards: Below) -> list[Digest]:
    """Return `members` in the order in which a walk downwards leaves them."""
    order: list[Digest] = []
    entered: set[Digest] = set()
    for start in members:
        waiting = [(start, False)]
        while waiting:
            digest, is_left = waiting.pop()
            if is_left:
                order.append(digest)
            elif digest not in entered:
                entered.add(digest)
                waiting.append((digest, True))
                waiting += [(lower, False) for lower in downwards.get(digest, ())]
    return order


def _reached_anew(start: Digest, upwards: Below, done: set[Digest]) -> list[Digest]:
    found: dict[Digest, None] = {}
    waiting = [start]
    while waiting:
        digest = waiting.pop()
        if digest not in found and digest not in done:
            found[digest] = None
            waiting += upwards.get(digest, ())
    return list(found)
