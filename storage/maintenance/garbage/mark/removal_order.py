"""The order in which the manifests of one component are removed.

Manifests that retain one another form a component: an index and its children, an image and its
signatures. If one of them turns out to be in use, all that it retains are kept too. A component is
removed step by step, from the top: until a manifest is removed, all that it retains exists, and no
lock is held for a whole component.

One component at a time is in memory, both here and while it is removed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

from storage.values.digest import Digest

T = TypeVar("T", bound=Hashable)

# If the first is kept, the second is kept as well.
Pair: TypeAlias = tuple[Digest, Digest]
# Manifests that retain one another in a cycle, removed under one hold of the lock; mostly just one.
RemovalUnit: TypeAlias = tuple[Digest, ...]


def removal_order(
    nodes: Iterable[T], children: Mapping[T, Sequence[T]], retains: Iterable[tuple[T, T]]
) -> Iterator[tuple[T, ...]]:
    """Yield the removal units of a component, each before those that it retains.

    Within a unit a manifest precedes its `children`, so that a power cut leaves no index without a
    child. The result depends only on the order of `nodes` and of `retains`.
    """
    for unit in _strongly_connected(nodes, successors(retains)):
        yield _parents_first(unit, children)


def successors(pairs: Iterable[tuple[T, T]]) -> Mapping[T, list[T]]:
    """Return the second elements of `pairs` by their first."""
    lower_by_upper: dict[T, list[T]] = defaultdict(list)
    for upper, lower in pairs:
        lower_by_upper[upper].append(lower)
    return dict(lower_by_upper)


def reachable(start: Iterable[T], downwards: Mapping[T, Sequence[T]]) -> set[T]:
    """Return `start` and all that can be reached from it."""
    reached: set[T] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += downwards.get(node, ())
    return reached


def _strongly_connected(
    nodes: Iterable[T], downwards: Mapping[T, Sequence[T]]
) -> Iterator[list[T]]:
    """Yield the strongly connected components in topological order (Kosaraju's algorithm)."""
    order = _postorder(nodes, downwards)
    upwards = successors((low, up) for up, lows in downwards.items() for low in lows)
    done: set[T] = set()
    for node in reversed(order):
        if node not in done:
            unit = _newly_reachable(node, upwards, done)
            done.update(unit)
            yield unit


def _parents_first(unit: Sequence[T], children: Mapping[T, Sequence[T]]) -> tuple[T, ...]:
    """Order a unit so that each manifest precedes its children; none can list itself."""
    if len(unit) == 1:
        return tuple(unit)
    nodes = set(unit)
    inner = {node: [child for child in children.get(node, ()) if child in nodes] for node in unit}
    return tuple(reversed(_postorder(unit, inner)))


def _postorder(nodes: Iterable[T], downwards: Mapping[T, Sequence[T]]) -> list[T]:
    """Return `nodes` in the postorder of a depth-first search."""
    order: list[T] = []
    entered: set[T] = set()
    for start in nodes:
        waiting = [(start, False)]
        while waiting:
            node, is_left = waiting.pop()
            if is_left:
                order.append(node)
            elif node not in entered:
                entered.add(node)
                waiting.append((node, True))
                waiting += [(lower, False) for lower in downwards.get(node, ())]
    return order


def _newly_reachable(start: T, upwards: Mapping[T, Sequence[T]], done: set[T]) -> list[T]:
    reached: dict[T, None] = {}
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in reached and node not in done:
            reached[node] = None
            waiting += upwards.get(node, ())
    return list(reached)
