"""Sizes in bytes as people read them."""

from __future__ import annotations


def format_size(size: int) -> str:
    """Write a number of bytes for people: three digits and a unit of 1000."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
