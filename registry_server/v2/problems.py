"""Errors in a request that are found before the storage is used."""

from __future__ import annotations


class PayloadTooLarge(Exception):
    """The body exceeds `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body must be at most {limit} bytes")


class PaginationInvalid(Exception):
    """`n` is not a whole number of entries."""


class RangeUnsatisfiable(Exception):
    """The Range header cannot be satisfied for a blob of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range can't be served from a blob of {size} bytes")
        self.size = size


class TooManyTags(Exception):
    """A push has more tags than the limit."""
