"""Parses the JSON of manifests: strictly when they are pushed, as Go does once they are stored.

A pushed document must mean the same to every reader, so duplicate keys are refused. A stored
document may come from another registry, which parses JSON as Go does: the last value of a duplicate
key counts. This registry must answer as that one does.

Both parsers replace invalid UTF-8 by U+FFFD, as Go does. Both limit the number of values and
escapes that one call parses, because it holds the GIL: the worst document of `_MOST_VALUES` takes
60 ms, and one with as many strings of escapes as fit into 4 MiB took 180 ms. An index of 10,000
children, each with a platform and two annotations, is within the limit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from storage.errors import ManifestInvalid

_MOST_VALUES = 100_000
# So many backslashes count as a value: the parser builds a string with escapes from pieces.
_ESCAPES = 4
_MOST_DIGITS = 40
# The limit of Go's encoding/json.
_MOST_LEVELS = 10_000
# The parser recurses. A document deeper than Python's limit is cut into pieces of so many levels.
_LEVELS_OF_A_PIECE = 200
# Of a stored document with too many values, only the outermost level is parsed, so many fields at
# a time.
_LEVELS_OF_AN_OUTLINE = 2
_FIELDS_AT_ONCE = 1000

# Both patterns are for text without escaped quotes (`_plain`): a match may be a string of 4 MiB,
# during which the GIL is held, and matching escapes as well takes ten times as long.
# A string, an unpaired quote, or a bracket.
_TOKEN = re.compile(r'"[^"]*+"|["\[\]{}]')

# A field of an object whose inner levels are empty.
_FIELD = re.compile(r'(?:[^",]++|"[^"]*+")++')
_SPACES = " \t\r\n"

_OUT_OF_RANGE = 1 << 64

PairsHook = Callable[[list[tuple[str, Any]]], Any]


def load_strictly(raw: bytes) -> object:
    """Parse a pushed document; raise `ManifestInvalid` for bad JSON and for duplicate keys."""
    if _has_too_many_values(raw):
        raise ManifestInvalid(
            f"the manifest has more than {_MOST_VALUES} values; {_ESCAPES} escapes count as one"
        )
    return _load(raw, _unique_keys, _deep)


def load_as_stored(raw: bytes, is_field: Callable[[str], bool]) -> object:
    """Parse a document that another registry stored; raise `ManifestInvalid` if it is not JSON.

    Levels beyond the limit become empty. Of a document with too many values, only fields for which
    `is_field` is true are kept, and their inner levels become empty.
    """
    if _has_too_many_values(raw):
        return _translated(lambda: _fields(_decoded(raw), is_field))
    return _load(raw, merged, lambda text, hook: _outline(text, hook, _LEVELS_OF_A_PIECE))


def merged(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object as Go parses it: the last value of a key counts.

    A null does not replace a string or a number. Keys are in the order of their last values.
    """
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if value is None and isinstance(fields.get(key), (str, int)):
            continue
        fields.pop(key, None)
        fields[key] = value
    return fields


def _load(raw: bytes, hook: PairsHook, deep: Callable[[str, PairsHook], object]) -> object:
    def read() -> object:
        text = _decoded(raw)
        try:
            return _parsed(text, hook)
        except RecursionError:
            return deep(text, hook)

    return _translated(read)


def _translated(read: Callable[[], object]) -> object:
    try:
        return read()
    except ManifestInvalid:
        raise
    except ValueError as error:
        raise ManifestInvalid(f"the manifest is not JSON: {str(error)[:160]}") from None


def _has_too_many_values(raw: bytes) -> bool:
    return sum(map(raw.count, b"[{,")) + raw.count(b"\\") // _ESCAPES > _MOST_VALUES


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _parsed(text: str, hook: PairsHook) -> Any:
    return json.loads(
        text,
        object_pairs_hook=hook,
        parse_constant=_refuse_constant,
        parse_int=_whole_number,
        parse_float=lambda _: 0.0,  # no field is a fraction, so only the type matters
    )


def _deep(text: str, hook: PairsHook) -> object:
    """Parse a document of any depth that Go accepts, piece by piece; return the outermost piece."""
    document = None
    for piece in _pieces(text, _LEVELS_OF_A_PIECE):
        document = _parsed(piece, hook)
    return document


def _outline(text: str, hook: PairsHook, levels: int) -> object:
    """Parse only the outermost piece; the inner pieces need not be JSON."""
    return _parsed(_outermost(text, levels), hook)


def _outermost(text: str, levels: int) -> str:
    outermost = ""
    for piece in _pieces(text, levels):
        outermost = piece
    return outermost


def _fields(text: str, is_field: Callable[[str], bool]) -> dict[str, Any]:
    """Parse the fields of the outermost object in parts, so that other threads run in between."""
    outermost = _outermost(text, _LEVELS_OF_AN_OUTLINE).strip(_SPACES)
    if not (outermost.startswith("{") and outermost.endswith("}")):
        raise ManifestInvalid("the manifest is not an object")
    matches = _FIELD.finditer(_plain(outermost), 1, len(outermost) - 1)
    fields = (outermost[match.start() : match.end()] for match in matches)
    return merged(
        pair
        for batch in iter(lambda: list(islice(fields, _FIELDS_AT_ONCE)), [])
        for pair in _parsed(f"{{{','.join(batch)}}}", list)
        if is_field(pair[0])
    )


def _pieces(text: str, levels: int) -> Iterator[str]:
    """Yield pieces of a document, of at most `levels` levels each, the outermost last.

    Where a piece was cut out, an empty list or object remains.
    """
    open_pieces: list[list[str]] = [[]]
    begin = 0
    for position, depth in _brackets(text):
        if depth % levels:
            continue
        open_pieces[-1].append(text[begin:position])
        begin = position
        if depth > 0:
            open_pieces.append([])
        else:
            yield "".join(open_pieces.pop())
            open_pieces[-1].append("[]" if text[position - 1] == "]" else "{}")
    yield "".join(open_pieces.pop()) + text[begin:]


def _brackets(text: str) -> Iterator[tuple[int, int]]:
    """Yield the position and level of each bracket; for a closing one, the level is negative.

    Raises `ManifestInvalid` for an unterminated string, an unpaired bracket, and more levels than
    Go allows. The parser checks whether the brackets of a pair match.
    """
    depth = 0
    for token in _TOKEN.finditer(_plain(text)):
        kind = token[0]
        if kind in "[{":
            depth += 1
            if depth > _MOST_LEVELS:
                raise ManifestInvalid("the manifest is nested too deeply")
            yield token.start(), depth
        elif kind in "]}" and depth:
            yield token.end(), -depth
            depth -= 1
        elif len(kind) == 1:
            raise ManifestInvalid("the manifest is not JSON: a bracket or a quote too many")
    if depth:
        raise ManifestInvalid("the manifest is not JSON: a bracket is not closed")


def _plain(text: str) -> str:
    """Replace escaped quotes and backslashes by as many other characters."""
    return text.replace(r"\\", "__").replace(r"\"", "__")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ManifestInvalid("the manifest has a duplicate key in one object")
    return fields


def _whole_number(text: str) -> int:
    # Parsing thousands of digits takes long, and no field may hold such a number.
    return int(text) if len(text) <= _MOST_DIGITS else _OUT_OF_RANGE


def _refuse_constant(name: str) -> None:
    raise ManifestInvalid(f"{name} is not JSON")
