"""Shapes of values in a configuration: which keys, lists and kinds of values it may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value: text, a number, a duration and so on; `kind` is its type in the schema."""

    kind: object = str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list whose items have the same shape."""

    item: Shape


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys the operator chooses."""

    item: Shape


@dataclass(frozen=True, slots=True)
class Keys:
    """A mapping whose keys the schema defines."""

    children: Mapping[str, Shape]

    def __or__(self, other: Keys) -> Keys:
        """Return the keys of both, merged at every level."""
        children = dict(self.children)
        for name, child in other.children.items():
            own = children.get(name)
            if isinstance(own, Keys) and isinstance(child, Keys):
                child = own | child
            children[name] = child
        return Keys(children)


Shape = Leaf | ListOf | MapOf | Keys


def child(shape: Shape, part: str | int) -> Shape | None:
    """Return the shape of a key or an item of `shape`, or None if it cannot have that."""
    if isinstance(shape, Keys):
        return shape.children.get(str(part))
    return shape.item if isinstance(shape, ListOf | MapOf) else None
