"""The credentials of `Authorization: Basic` (RFC 7617): a name and a password.

Whatever can't be read is no credentials at all; no text of it goes into an error.
"""

from __future__ import annotations

import base64
import unicodedata

# Bytes of the whole value. Nothing that is checked afterwards is longer than that.
LONGEST_HEADER = 8192


def parse_basic(header: bytes | str) -> tuple[str, str] | None:
    """Return the name and the password of a value of `Authorization`; None when it has none.

    The name is not empty and has no colon, the first of which ends it; neither has control
    characters (RFC 7617, 2). Both are UTF-8, whatever charset the client had in mind.
    """
    if len(header) > LONGEST_HEADER:
        return None
    try:
        value = header.encode("ascii") if isinstance(header, str) else header
        scheme, _, encoded = value.partition(b" ")
        text = _decode(encoded.strip(b" ")) if scheme.lower() == b"basic" else ""
    except ValueError:
        return None
    name, colon, password = text.partition(":")
    return (name, password) if name and colon and not has_controls(text) else None


def has_controls(text: str) -> bool:
    """Tell whether there are control characters in `text`, which no name or password may have."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def _decode(encoded: bytes) -> str:
    decoded = base64.b64decode(encoded, validate=True)
    # Bits that mean nothing would be a second way to write the same credentials.
    if base64.b64encode(decoded) != encoded:
        raise ValueError("the base64 is not canonical")
    return decoded.decode("utf-8")
