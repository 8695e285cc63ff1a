"""The `_state` in the URL of an upload session: its size when the URL was issued.

It protects against a chunk that is sent twice. A chunk without Content-Range starts at this offset;
if the session has another size, the chunk is out of order and is not appended. The state is not
signed, because it grants nothing: requests without it are accepted. The `_state` of another
registry is ignored, so a session can continue after a change of registry.
"""

from __future__ import annotations

import re

from starlette.requests import Request

_NAME = "_state"
# The state of CNCF distribution is base64, which has no full stop.
_OURS = re.compile(r"at\.([0-9]{1,18})", re.ASCII)


def query(size: int) -> str:
    """Return the query of the URL of a session with `size` bytes."""
    return f"{_NAME}=at.{size}"


def offset(request: Request) -> int | None:
    """Return the size of the session when this URL was issued, or None if it is unknown."""
    match = _OURS.fullmatch(request.query_params.get(_NAME, ""))
    return int(match[1]) if match else None
