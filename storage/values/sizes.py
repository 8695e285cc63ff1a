"""Formats sizes in bytes."""

from __future__ import annotations


def format_size(size: int) -> str:
    """Format a number of bytes with three digits and a decimal unit, such as "12.3 MB"."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
