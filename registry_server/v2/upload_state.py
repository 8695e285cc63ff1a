"""The `_state` in the URL of an upload: how many bytes it held when the URL was given out.

It guards against a request that is sent twice: a chunk without Content-Range that arrives at a
`Location` the upload has moved on from is out of order, not a second copy of the bytes. It is not
signed, because it grants nothing: without it a request is answered as well. Other registries write
a `_state` of their own kind, which is ignored, so an upload outlives a change of the registry.
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
