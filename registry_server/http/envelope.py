"""The error envelope `{"errors": [{"code", "message", "detail"}]}` of every refusal.

Pure, because some refusals have no request object: malformed requests (`http1`) and the end of a
drain (`middleware`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

MEDIA_TYPE = "application/json"
API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")
# Stops browsers from guessing a type: pushed content could look like a page or a script.
NO_SNIFF = (b"x-content-type-options", b"nosniff")

# Characters. A message may quote what was sent, and a manifest's mediaType can fill its 4 MiB.
LONGEST_MESSAGE = 1000

Entry: TypeAlias = dict[str, Any]


def entry(code: str, message: str, detail: object = None) -> Entry:
    """Return one error; a message over LONGEST_MESSAGE characters is cut and ends in `…`."""
    if len(message) > LONGEST_MESSAGE:
        message = message[: LONGEST_MESSAGE - 1] + "…"
    error: Entry = {"code": code, "message": message}
    return error if detail is None else error | {"detail": detail}


def body(entries: Sequence[Entry]) -> bytes:
    """Return the envelope of one or more entries."""
    return json.dumps({"errors": entries}).encode()


def last_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers of a refusal without a handler that closes the connection."""
    return [
        API_VERSION,
        (b"content-type", MEDIA_TYPE.encode()),
        NO_SNIFF,
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
