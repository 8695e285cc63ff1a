"""The removal of components, divided into batches: each is removed under one hold of the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from storage.drivers.base import Reader
from storage.maintenance.garbage.mark.candidates import Component
from storage.maintenance.garbage.mark.removal_order import RemovalUnit, reachable, successors
from storage.values.digest import Digest

# Removals under one hold of the exclusive lock: a stat and a rename take some 20 us each.
BATCH = 100


class Removal:
    """The removal of a component; `kept` are touched manifests, and all that these retain."""

    def __init__(self, component: Component) -> None:
        self.repository = component.repository
        self.units = component.units
        self.kept: set[Digest] = set()
        self._retained = successors(component.retains)

    def keep(self, manifests: Iterable[Digest]) -> None:
        """Keep manifests, with all that they retain."""
        self.kept |= reachable(manifests, self._retained)


# Units of one component, removed under one hold of the lock.
Part: TypeAlias = tuple[Removal, tuple[RemovalUnit, ...]]


def keep_parts(parts: Iterable[Part], _: Reader) -> None:
    """Keep all manifests of parts that could not be removed."""
    for removal, units in parts:
        for unit in units:
            removal.keep(unit)


def in_batches(removals: Iterable[Removal]) -> Iterator[list[Part]]:
    """Divide components into batches of few manifests; a unit is never divided."""
    batch: list[Part] = []
    count = 0
    for removal in removals:
        part: list[RemovalUnit] = []
        for unit in removal.units:
            part.append(unit)
            count += len(unit)
            if count >= BATCH:
                yield [*batch, (removal, tuple(part))]
                batch, part, count = [], [], 0
        if part:
            batch.append((removal, tuple(part)))
    if batch:
        yield batch
