"""`n` and `last` of the listings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from registry_server.v2.problems import PaginationInvalid

_NUMBER = re.compile(r"[0-9]+", re.ASCII)
# More digits than this are more entries than anybody has; int() would spend time on them.
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Window:
    """Entries behind `last`, at most `n`; None for all."""

    last: str
    n: int | None

    def limit(self, default: int | None, most: int | None) -> int | None:
        """Return how many entries a page may have: what was asked for, within `most`."""
        wanted = default if self.n is None else self.n
        if most is None or wanted is None:
            return wanted if most is None else most
        return min(wanted, most)


def window(request: Request) -> Window:
    """Read the query; raise `PaginationInvalid` for an `n` that is not a whole number."""
    text = request.query_params.get("n")
    last = request.query_params.get("last", "")
    if text is None or text == "":
        return Window(last, None)
    if not _NUMBER.fullmatch(text):
        raise PaginationInvalid(f"n must be a whole number, not {text[:40]!r}")
    return Window(last, int(text[:_MOST_DIGITS]) if len(text) > _MOST_DIGITS else int(text))
