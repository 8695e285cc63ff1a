"""Quantities with units: durations in Go's notation, such as `1m30s`, and sizes, such as `50MB`.

Go counts nanoseconds in 64 bits, a timedelta microseconds. Durations are rounded to the nearest
microsecond, which makes no difference to any setting.
"""

import re
from datetime import timedelta
from decimal import Decimal

_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "\N{MICRO SIGN}s": 10**3,
    "\N{GREEK SMALL LETTER MU}s": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_UNITS = "|".join(sorted(_NANOSECONDS, key=len, reverse=True))
_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)({_DURATION_UNITS})", re.ASCII)
_WHOLE = re.compile(rf"[-+]?(?:{_PART.pattern})+", re.ASCII)
_BARE = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_LARGEST = 2**63 - 1
_LONGEST_TEXT = 100

# kB is 10^3 bytes, KiB is 2^10.
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([a-z]*)", re.ASCII | re.IGNORECASE)


def is_bare(text: str) -> bool:
    """Return whether `text` is a number without a unit, which Go reads as nanoseconds."""
    return _BARE.fullmatch(text) is not None


def parse_duration(text: str) -> timedelta:
    """Parse a Go duration; a number without a unit is nanoseconds.

    Raises ValueError, with a message for the operator, if it is not one or does not fit 64 bits.
    """
    if len(text) > _LONGEST_TEXT:
        raise ValueError("must be a duration, such as 30s or 1h30m")
    nanoseconds = Decimal(text) if is_bare(text) else _parts(text)
    if abs(nanoseconds) > _LARGEST:
        raise ValueError("must be a duration of less than 292 years")
    return timedelta(microseconds=round(nanoseconds / 1000))


def parse_duration_with_unit(text: str) -> timedelta:
    """Parse a Go duration that must have a unit; only `0` needs none.

    Distribution requires the unit for upload purging: nanoseconds would purge uploads in progress.
    """
    if is_bare(text) and Decimal(text[: _LONGEST_TEXT + 1]) != 0:
        raise ValueError("needs a unit, such as 168h or 30m")
    return parse_duration(text)


def in_go_words(duration: timedelta) -> str:
    """Format a non-negative duration as Go does: `1h0m0s`, `1m30s`, `500ms`."""
    microseconds = duration // timedelta(microseconds=1)
    if 0 < microseconds < 10**6:
        return f"{microseconds / 1000:g}ms"
    minutes, seconds = divmod(Decimal(microseconds) / 10**6, 60)
    hours, minutes = divmod(minutes, 60)
    written = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{written}{seconds:f}s"


def parse_rate(text: str) -> int:
    """Parse a number of bytes per second: a size with an optional `/s`."""
    text = text.strip()
    return parse_size(text[:-2] if text.lower().endswith("/s") else text)


def parse_size(text: str) -> int:
    """Parse a number of bytes; raise ValueError for anything else.

    A positive size of less than one byte is one byte, because 0 often means no limit.
    """
    match = _SIZE.fullmatch(text.strip())
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError("must be a number of bytes, such as 50MB or 100MiB")
    amount = Decimal(match[1]) * unit
    return int(amount) or int(amount > 0)


def _parts(text: str) -> Decimal:
    if _WHOLE.fullmatch(text) is None:
        raise ValueError("must be a duration, such as 30s or 1h30m")
    parts = _PART.findall(text)
    total = sum((Decimal(number) * _NANOSECONDS[unit] for number, unit in parts), Decimal(0))
    return -total if text.startswith("-") else total
