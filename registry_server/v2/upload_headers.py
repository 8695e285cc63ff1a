"""The header that reports the progress of an upload."""

from __future__ import annotations


def held(length: int) -> dict[str, str]:
    """Return `Range: 0-<last>`; in the spec `0-0` means no bytes as well as one byte."""
    return {"Range": f"0-{max(length - 1, 0)}"}
