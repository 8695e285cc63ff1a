"""The `_state` in the URL of an upload: how many bytes it held when the URL was given out.

It protects against a chunk that is sent twice. A chunk without Content-Range starts at this offset;
when the upload holds another number of bytes, the chunk is out of order and is not appended. The
state is not signed, because it grants nothing: a request without it is accepted as well. The
`_state` of another registry is ignored, so an upload can be continued after a change of registry.
"""

from __future__ import annotations

import re

from starlette.requests import Request

_NAME = "_state"
# The state of CNCF distribution is base64, which has no full stop.
_OURS = re.compile(r"at\.([0-9]{1,18})", re.ASCII)


def query(held: int) -> str:
    """Return the query of the URL of an upload that holds `held` bytes."""
    return f"{_NAME}=at.{held}"


def offset(request: Request) -> int | None:
    """Return how many bytes the upload held when this URL was given out, None when unknown."""
    match = _OURS.fullmatch(request.query_params.get(_NAME, ""))
    return int(match[1]) if match else None
