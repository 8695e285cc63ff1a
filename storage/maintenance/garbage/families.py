"""Manifests that go, grouped by what hangs together.

An index and its children, an image and its signatures go in one instant, or those of them stay
that hang on one which was used after all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from storage.digest import Digest

Pair: TypeAlias = tuple[Digest, Digest]


@dataclass(frozen=True, slots=True)
class Group:
    """Manifests that hang together, each before those it lists.

    `hangs_on` has pairs: if the first stays, the second does too.
    """

    members: tuple[Digest, ...]
    hangs_on: tuple[Pair, ...]


def families(
    doomed: Iterable[Digest], children: Mapping[Digest, tuple[Digest, ...]], hangs_on: list[Pair]
) -> Iterator[Group]:
    """Group `doomed`, all pairs of `hangs_on` being among them."""
    pairs: dict[Digest, list[Pair]] = defaultdict(list)
    for pair in hangs_on:
        for end in set(pair):
            pairs[end].append(pair)
    seen: set[Digest] = set()
    for digest in doomed:
        if digest not in seen:
            together = _together(digest, pairs)
            seen |= together
            inner = dict.fromkeys(pair for one in together for pair in pairs[one])
            yield Group(tuple(_listing_first(together, children)), tuple(inner))


def _together(start: Digest, pairs: Mapping[Digest, list[Pair]]) -> set[Digest]:
    found, waiting = {start}, [start]
    while waiting:
        for pair in pairs.get(waiting.pop(), ()):
            for end in pair:
                if end not in found:
                    found.add(end)
                    waiting.append(end)
    return found


def _listing_first(
    members: set[Digest], children: Mapping[Digest, tuple[Digest, ...]]
) -> list[Digest]:
    """Order manifests so that each comes before its children; a digest can't list itself."""
    order: list[Digest] = []
    done: set[Digest] = set()
    waiting = [(digest, False) for digest in sorted(members, key=str)]
    while waiting:
        digest, is_left = waiting.pop()
        if is_left:
            order.append(digest)
        elif digest not in done:
            done.add(digest)
            waiting.append((digest, True))
            waiting += [(child, False) for child in children[digest] if child in members]
    return order[::-1]


def spared(used: Iterable[Digest], hangs_on: Iterable[Pair]) -> set[Digest]:
    """Return those of a family that stay because they, or one they hang on, were used."""
    below: dict[Digest, list[Digest]] = defaultdict(list)
    for upper, lower in hangs_on:
        below[upper].append(lower)
    staying: set[Digest] = set()
    waiting = list(used)
    while waiting:
        digest = waiting.pop()
        if digest not in staying:
            staying.add(digest)
            waiting += below[digest]
    return staying
