"""Parses the credentials of `Authorization: Basic` (RFC 7617): a name and a password.

Errors never quote the header.
"""

from __future__ import annotations

import base64
import unicodedata

LONGEST_HEADER = 8192  # bytes


def parse_basic(header: bytes | str) -> tuple[str, str] | None:
    """Return the name and the password in an `Authorization` header; None if it is malformed.

    The first colon ends the name, which is UTF-8, not empty, and without control characters. The
    password is any bytes but NUL: RFC 7617 (2) excludes control characters, but CNCF distribution
    accepts them. Bytes that are not UTF-8 become surrogates (PEP 383).
    """
    if len(header) > LONGEST_HEADER:
        return None
    try:
        value = header.encode("ascii") if isinstance(header, str) else header
        scheme, _, encoded = value.partition(b" ")
        decoded = _decode(encoded.strip(b" ")) if scheme.lower() == b"basic" else b""
        name, colon, password = decoded.partition(b":")
        user = name.decode("utf-8")
    except ValueError:
        return None
    if not user or not colon or has_controls(user) or b"\0" in password:
        return None
    return user, password.decode("utf-8", "surrogateescape")


def has_controls(text: str) -> bool:
    """Return whether `text` has control characters, which user names must not have."""
    return any(unicodedata.category(character) == "Cc" for character in text)


def _decode(encoded: bytes) -> bytes:
    decoded = base64.b64decode(encoded, validate=True)
    # Unused bits that are set would be a second encoding of the same credentials.
    if base64.b64encode(decoded) != encoded:
        raise ValueError("the base64 is not canonical")
    return decoded
