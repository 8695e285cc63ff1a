"""The credentials of `Authorization: Basic` (RFC 7617): a name and a password.

A value that cannot be read is no credentials at all; no text of it goes into an error.
"""

from __future__ import annotations

import base64
import unicodedata

# Bytes of the whole value. Nothing that is checked afterwards is longer than that.
LONGEST_HEADER = 8192


def parse_basic(header: bytes | str) -> tuple[str, str] | None:
    """Return the name and the password of a value of `Authorization`; None when it has none.

    The name is UTF-8, not empty, and without control characters; the first colon ends it. The
    password is any bytes but NUL, as for CNCF distribution, although RFC 7617 (2) allows no control
    characters: those that are not UTF-8 are surrogates (PEP 383).
    """
    if len(header) > LONGEST_HEADER:
        return None
    try:
        value = header.encode("ascii") if isinstance(header, str) else header
        scheme, _, encoded = value.partition(b" ")
        shown = _decode(encoded.strip(b" ")) if scheme.lower() == b"basic" else b""
        name, colon, password = shown.partition(b":")
        user = name.decode("utf-8")
    except ValueError:
        return None
    if not user or not colon or has_controls(user) or b"\0" in password:
        return None
    return user, password.decode("utf-8", "surrogateescape")


def has_controls(text: str) -> bool:
    """Tell whether there are control characters in `text`, which the name of no user may have."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def _decode(encoded: bytes) -> bytes:
    decoded = base64.b64decode(encoded, validate=True)
    # Bits that mean nothing would be a second way to write the same credentials.
    if base64.b64encode(decoded) != encoded:
        raise ValueError("the base64 is not canonical")
    return decoded
