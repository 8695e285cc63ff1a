"""Sizes in bytes, with or without a unit: `500000`, `50MB` (10^6), `100MiB` (2^20)."""

import re
from decimal import Decimal

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([a-z]*)", re.ASCII | re.IGNORECASE)


def parse_rate(text: str) -> int:
    """Parse a number of bytes per second: a size with an optional `/s`."""
    text = text.strip()
    return parse_size(text[:-2] if text.lower().endswith("/s") else text)


def parse_size(text: str) -> int:
    """Parse a number of bytes; raise ValueError for anything else.

    A positive size of less than one byte is one byte, because 0 often means no limit.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("must be a number of bytes, such as 50MB or 100MiB")
    amount = Decimal(match[1]) * unit
    return int(amount) or int(amount > 0)
