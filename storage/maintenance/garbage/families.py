"""Manifests that go, in an order in which they can.

An index and its children, an image and its signatures are a family: if one of them is used after
all, those that hang on it stay. They are removed step by step, what others hang on first. So until
a manifest is removed, all that hangs on it exists, and no lock is held for a whole family.

One family at a time is in memory, while it is put in order and while it is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

from storage.values.digest import Digest

T = TypeVar("T", bound=Hashable)

Pair: TypeAlias = tuple[Digest, Digest]
# Manifests that hang on each other, which go in one instant or stay.
Knot: TypeAlias = tuple[Digest, ...]


def ordered(
    members: Iterable[T], children: Mapping[T, Sequence[T]], hangs_on: Iterable[tuple[T, T]]
) -> Iterator[tuple[T, ...]]:
    """Order a family; a pair of `hangs_on` says that if the first stays, the second does too.

    It comes as its knots, each before those that hang on it; in a knot a manifest comes before its
    `children`, so that none is left without one when the power goes. The order depends on that of
    `members` and `hangs_on` alone.
    """
    for knot in _knots(members, below(hangs_on)):
        yield _listing_first(knot, children)


def below(hangs_on: Iterable[tuple[T, T]]) -> Mapping[T, list[T]]:
    """Return what hangs directly on each manifest that anything hangs on."""
    found: dict[T, list[T]] = defaultdict(list)
    for upper, lower in hangs_on:
        found[upper].append(lower)
    return dict(found)


def reached(start: Iterable[T], downwards: Mapping[T, Sequence[T]]) -> set[T]:
    """Return `start` and all that hangs on it, however far below."""
    found: set[T] = set()
    waiting = list(start)
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting += downwards.get(digest, ())
    return found


def _knots(members: Iterable[T], downwards: Mapping[T, Sequence[T]]) -> Iterator[list[T]]:
    """Order the strongly connected components, each before those below it (Kosaraju's way)."""
    order = _left_last(members, downwards)
    upwards = below((low, up) for up, lows in downwards.items() for low in lows)
    done: set[T] = set()
    for digest in reversed(order):
        if digest not in done:
            knot = _reached_anew(digest, upwards, done)
            done.update(knot)
            yield knot


def _listing_first(knot: Sequence[T], children: Mapping[T, Sequence[T]]) -> tuple[T, ...]:
    """Order a knot so that each manifest comes before its children; none can list itself."""
    if len(knot) == 1:
        return tuple(knot)
    members = set(knot)
    inner = {one: [child for child in children.get(one, ()) if child in members] for one in knot}
    return tuple(reversed(_left_last(knot, inner)))


def _left_last(members: Iterable[T], downwards: Mapping[T, Sequence[T]]) -> list[T]:
    """Return `members` in the order in which a walk downwards leaves them."""
    order: list[T] = []
    entered: set[T] = set()
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


def _reached_anew(start: T, upwards: Mapping[T, Sequence[T]], done: set[T]) -> list[T]:
    found: dict[T, None] = {}
    waiting = [start]
    while waiting:
        digest = waiting.pop()
        if digest not in found and digest not in done:
            found[digest] = None
            waiting += upwards.get(digest, ())
    return list(found)
