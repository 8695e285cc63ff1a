"""How a configuration says what is wrong with it: one line for each problem, never a value.

No message quotes a value, because the value may be a password; it names the place instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

Path = tuple[str | int, ...]

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of the configuration was written.

    `source` is the path of a file, the name of a variable or an option, or "" when it is not known.
    Lines and columns count from 1 and are None where they mean nothing.
    """

    source: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line}"
        column = "" if self.column is None else f"column {self.column}"
        return ", ".join(part for part in (self.source, line, column) if part)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong or odd: the place, the full key or "", and what to do about it."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        message = f"{self.key} {self.text}" if self.key else self.text
        return ": ".join(part for part in (str(self.place), message) if part)


class Origins(Protocol):
    """Tells where the parts of a configuration were written."""

    def located(self, path: Path, problem: str) -> Problem:
        """Return a problem of the part at `path`."""


class Unlocated:
    """The origins of settings whose document is no longer held."""

    def located(self, path: Path, problem: str) -> Problem:
        """Return a problem without a place."""
        return Problem(Place(), dotted(path), problem)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why, a line each, `details` in parts."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.details = tuple(
            each if isinstance(each, Problem) else Problem(Place(), "", each) for each in problems
        )
        self.problems = tuple(str(each) for each in self.details)
        super().__init__(self.details)  # pickle passes these to `__init__`

    def __str__(self) -> str:
        return "\n".join(self.problems)


def dotted(path: Path) -> str:
    """Write a key's full path: `notifications.endpoints[0].url`."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += f".{shown(part)}" if written else shown(part)
    return written


def shown(name: str) -> str:
    """Make a name from outside safe to print on one line."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
    return short if short.isprintable() and short == short.strip() != "" else ascii(short)


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Join names for a sentence: `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
