"""What a request declares about its body."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeclaredRange:
    """The start and length of a body in bytes, as far as the request's headers declare them.

    A body whose length differs from `length` is undone. A body that ends before `announced` bytes
    means that the connection was lost, and what arrived is kept.
    """

    start: int | None = None
    length: int | None = None
    announced: int | None = None

    @property
    def expected(self) -> int | None:
        """The number of bytes to expect; None if the headers declare none."""
        return self.announced if self.length is None else self.length
