"""Errors in a request that are found before the storage is used."""

from __future__ import annotations

from registry_server.http.refusals import Refusal


class PayloadTooLarge(Refusal):
    """The body exceeds `limit` bytes."""

    status = 413
    code = "SIZE_INVALID"

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body must be at most {limit} bytes")


class PaginationInvalid(Refusal):
    """`n` is not a whole number of entries."""

    status = 400
    code = "PAGINATION_NUMBER_INVALID"


class RangeUnsatisfiable(Refusal):
    """The Range header cannot be satisfied for a blob of `size` bytes."""

    status = 416
    code = "RANGE_INVALID"

    def __init__(self, size: int) -> None:
        super().__init__(f"the range can't be served from a blob of {size} bytes")
        self.size = size
        self.headers = {"Content-Range": f"bytes */{size}"}


class TooManyTags(Refusal):
    """A push has more tags than the limit."""

    status = 414
    code = "TAG_INVALID"
