"""The query parameters `n` and `last` of listings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from registry_server.v2.refusals import PaginationInvalid

_NUMBER = re.compile(r"[0-9]+", re.ASCII)
# No listing has more entries than this many digits can count, and int() is slow for long texts.
_MOST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Window:
    """The requested page: at most `n` entries after `last`; None means no limit."""

    last: str
    n: int | None

    def limit(self, default: int | None, most: int | None) -> int | None:
        """Return the size of the page: `n` or else `default`, at most `most`."""
        requested = default if self.n is None else self.n
        if most is None or requested is None:
            return requested if most is None else most
        return min(requested, most)


def window(request: Request) -> Window:
    """Parse the query; raise `PaginationInvalid` if `n` is not a whole number."""
    text = request.query_params.get("n")
    last = request.query_params.get("last", "")
    if text is None or text == "":
        return Window(last, None)
    if not _NUMBER.fullmatch(text):
        raise PaginationInvalid(f"n must be a whole number, not {text[:40]!r}")
    return Window(last, int(text[:_MOST_DIGITS]) if len(text) > _MOST_DIGITS else int(text))
