"""Problems of a configuration, one line each.

No message quotes a value, because the value may be a password. It names the key and the place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

Path = tuple[str | int, ...]

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Place:
    """The origin of a part of the configuration.

    `source` is the path of a file, the name of a variable or an option, or "" if it is not known.
    `line` and `column` count from 1, and are None if the source has none.
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
    """An error or a warning: the place, the full key or "", and what is wrong and how to fix it."""

    place: Place
    key: str
    text: str

    def __str__(self) -> str:
        message = f"{self.key} {self.text}" if self.key else self.text
        return ": ".join(part for part in (str(self.place), message) if part)


class Origins(Protocol):
    """Knows the places of the parts of a configuration."""

    def located(self, path: Path, problem: str) -> Problem:
        """Return a problem with the place of the part at `path`."""


class Unlocated:
    """The origins of settings whose document was discarded."""

    def located(self, path: Path, problem: str) -> Problem:
        """Return a problem without a place."""
        return Problem(Place(), dotted(path), problem)


class ConfigError(Exception):
    """The configuration is invalid; `details` are the problems, and `problems` their lines."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.details = tuple(
            problem if isinstance(problem, Problem) else Problem(Place(), "", problem)
            for problem in problems
        )
        self.problems = tuple(map(str, self.details))
        super().__init__(self.details)  # pickle passes these to `__init__`

    def __str__(self) -> str:
        return "\n".join(self.problems)


def dotted(path: Path) -> str:
    """Format the full path of a key: `notifications.endpoints[0].url`."""
    written = ""
    for part in path:
        if isinstance(part, int):
            written += f"[{part}]"
        else:
            written += f".{shown(part)}" if written else shown(part)
    return written


def shown(name: str) -> str:
    """Return an untrusted name, shortened and escaped for one line of output."""
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
    return short if short.isprintable() and short == short.strip() != "" else ascii(short)


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Join names for a sentence: `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
