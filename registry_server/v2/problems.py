"""What can be wrong with a request before the storage is asked."""

from __future__ import annotations


class PayloadTooLarge(Exception):
    """A body is over its limit of `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body must be at most {limit} bytes")


class PaginationInvalid(Exception):
    """`n` is not a whole number of entries."""


class RangeUnsatisfiable(Exception):
    """No part of a blob of `size` bytes is what the Range header asks for."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range can't be served from a blob of {size} bytes")
        self.size = size


class TooManyTags(Exception):
    """One push names more tags than are accepted."""
