"""How a configuration says what is wrong with it: one line for each problem, never a value.

No message quotes a value, because the value may be a password; it names the place instead.
"""

from collections.abc import Iterable, Sequence

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


class ConfigError(Exception):
    """The configuration cannot be used; `problems` says why, a line each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
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
