"""Errors of the YAML library, in words that quote no value.

The library quotes the text it could not read, which may be a part of a password. Its own signs
(`']'`, `'<stream end>'`) are kept; everything else between quotes is left out.
"""

import re
from collections.abc import Callable

import yaml

from registry_server.config.problems import Place, Problem, shown

Origin = Callable[[int], Place]

_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_SIGN = re.compile(r"['\"](?:<[a-z ]+>|[^\w\s\\]{1,3})['\"]", re.ASCII)
_INDENTATION = "the indentation does not fit the lines above"

# The beginning of what the library says, and what an operator can do about it.
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
    ("found unexpected end of stream", "a quote is opened and never closed"),
    ("found unexpected document separator", "a quote is opened and never closed"),
    ("found unknown escape character", "a backslash in double quotes begins no known escape"),
)


def located(error: yaml.YAMLError, text: str, origin: Origin) -> Problem:
    """Return the place of an error, with its column, and a line that says what is wrong."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return _problem(origin, mark.line, mark.column, f"{_words(error)}{_opened(error)}")
    message = "holds a character that YAML does not allow"
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
    """Name the line on which the list, the mapping or the quote began, if that is another."""
    began, ended = error.context_mark, error.problem_mark
    if began is None or ended is None or began.line == ended.line:
        return ""
    return f" (it began on line {began.line + 1})"
