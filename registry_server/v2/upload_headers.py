"""The headers that tell a client how much of an upload is held."""

from __future__ import annotations


def held(length: int) -> dict[str, str]:
    """Render `Range: 0-<last>`; the spec has `0-0` for nothing as well as for one byte."""
    return {"Range": f"0-{max(length - 1, 0)}"}
