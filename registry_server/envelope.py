"""The error envelope `{"errors": [{"code", "message", "detail"}]}`: the one form of a refusal.

Pure, because a refusal may come from where no request is at hand: a handler's exception
(`errors`), bytes that are no request (`http1`), the end of a drain (`middleware`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

MEDIA_TYPE = "application/json"
API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
# Keeps browsers from guessing a type: many answers carry pushed content, which could look like a
# page or a script.
NO_SNIFF = (b"x-content-type-options", b"nosniff")

# Characters. A message may quote what was sent, and a manifest's mediaType can fill its 4 MiB.
LONGEST_MESSAGE = 1000

Entry: TypeAlias = dict[str, Any]


def entry(code: str, message: str, detail: object = None) -> Entry:
    """Make one error; a message of more than LONGEST_MESSAGE characters is cut, and ends in `…`."""
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    made: Entry = {"code": code, "message": message}
    return made if detail is None else made | {"detail": detail}


def body(entries: Sequence[Entry]) -> bytes:
    """Render the envelope of at least one entry."""
    return json.dumps({"errors": entries}).encode()


def last_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return all headers of a refusal that no handler gives and that ends the connection."""
    return [
        API_VERSION,
        (b"content-type", MEDIA_TYPE.encode()),
        NO_SNIFF,
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
