"""Batches of a long iterable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(entries: Iterable[T], length: int) -> Iterator[list[T]]:
    """Yield `entries` in lists of `length`; the last may be shorter."""
    iterator = iter(entries)
    while batch := list(islice(iterator, length)):
        yield batch
