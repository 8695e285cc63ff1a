"""Messages for errors of the YAML library, without any value.

The library quotes the text that it could not parse, which may be part of a password. Only its own
tokens (`']'`, `'<stream end>'`) are kept; all other quoted text is removed.
"""

import re
from collections.abc import Callable

import yaml

from registry_server.config.problems import Place, Problem, shown

Origin = Callable[[int], Place]

_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SIGN = re.compile(r"['\"](?:<[a-z ]+>|[^\w\s\\]{1,3})['\"]", re.ASCII)
_INDENTATION = "the indentation does not fit the lines above"

# The beginning of a message of the library, and the message for the operator.
_REMEDIES = (
    ("found character '\\t' that cannot start", "a tab cannot indent a line: use spaces"),
    ("found character", "a value that begins with this character needs quotes"),
    ("mapping values are not allowed", f"a second ': ' in one line, or {_INDENTATION}"),
    ("could not find expected ':'", "a line without 'key: value': a ':' is missing"),
    ("expected <block end>", _INDENTATION),
    ("expected ',' or ']'", "a list that begins with [ is not closed, or a ',' is missing"),
    ("expected ',' or '}'", "a mapping that begins with { is not closed, or a ',' is missing"),
    ("expected the node content", "a value is missing"),
    ("found undefined alias", "an alias (*) names no anchor (&) above it"),
    ("found unexpected end of stream", "a quote is not closed"),
    ("found unexpected document separator", "a quote is not closed"),
    ("found unknown escape character", "a backslash in double quotes begins an unknown escape"),
)


def located(error: yaml.YAMLError, text: str, origin: Origin) -> Problem:
    """Return a problem with the line and column of an error."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return _problem(origin, mark.line, mark.column, f"{_words(error)}{_opened(error)}")
    message = "contains a character that YAML does not allow"
    at = error.position if isinstance(error, yaml.reader.ReaderError) else 0
    before = text[:at]
    return _problem(origin, before.count("\n"), at - before.rfind("\n") - 1, message)


def _problem(origin: Origin, line: int, column: int, message: str) -> Problem:
    place = origin(line + 1)
    if place.line is not None:
        place = Place(place.source, place.line, column + 1)
    return Problem(place, "", f"is not YAML: {message}")


def _words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it cannot be read"
    for beginning, remedy in _REMEDIES:
        if problem.startswith(beginning):
            return remedy
    return shown(_QUOTED.sub(_sign_or_nothing, problem))


def _sign_or_nothing(match: re.Match[str]) -> str:
    return match[0] if _SIGN.fullmatch(match[0]) else "something else"


def _opened(error: yaml.MarkedYAMLError) -> str:
    """Return a note about the line on which the list, mapping or quote began, if it differs."""
    began, ended = error.context_mark, error.problem_mark
    if began is None or ended is None or began.line == ended.line:
        return ""
    return f" (it began on line {began.line + 1})"
