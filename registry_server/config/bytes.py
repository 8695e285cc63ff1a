"""Sizes as the configuration file writes them: `4MiB`, `1KiB`, `10GB`, or a number of bytes."""

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SIZE = re.compile(r"([0-9]{1,20}) ?([A-Za-z]{0,3})", re.ASCII)


def parse_size(text: str) -> int:
    """Read a size in bytes; raise ValueError, in words for the operator, when it is none."""
    match = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("must be a size, such as 4MiB, or a number of bytes")
    return int(match[1]) * unit


def _size(value: object) -> object:
    return parse_size(value) if isinstance(value, str) else value


ByteSize = Annotated[int, BeforeValidator(_size)]
