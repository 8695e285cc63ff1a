"""How a configuration says what is wrong with it: one line for each problem, never a value.

No message quotes a value, because the value may be a password; it names the place instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_LONGEST_NAME = 80

_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "path_type": "must be a path",
    "tuple_type": "must be a list, such as [one, two]",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "missing": "is required",
}


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


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why, a line each, `details` in parts."""

    def __init__(self, problems: Iterable[Problem | str]) -> None:
        self.details = tuple(
            each if isinstance(each, Problem) else Problem(Place(), "", each) for each in problems
        )
        self.problems = tuple(str(each) for each in self.details)
        super().__init__("\n".join(self.problems))


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


def in_words(error: ErrorDetails) -> str:
    """Say what pydantic found wrong with a value, without the value."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), '')}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    return _WORDS.get(kind, "is not a valid value")


def listed(names: Sequence[str], conjunction: str = "and") -> str:
    """Join names for a sentence: `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {conjunction} {names[-1]}"
