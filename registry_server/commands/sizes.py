"""Sizes in bytes as people write them: `500000`, `50MB` (10^6), `100MiB` (2^20)."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([a-z]*?)(?:/s)?", re.ASCII | re.IGNORECASE)


def parse_size(text: str) -> int:
    """Read a number of bytes, or of bytes per second; raise ValueError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("must be a number of bytes, such as 50MB or 100MiB")
    return int(Decimal(match[1]) * unit)


def format_size(size: int) -> str:
    """Write a number of bytes for people: three digits and a unit of 1000."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
