"""Validates sections with pydantic.

Pydantic's errors show values, which may be secrets, so they do not leave this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from registry_server.config.document_shape import Leaf, ListOf, Shape, child
from registry_server.config.problems import Path, dotted
from registry_server.config.section import Section

AnySection = TypeVar("AnySection", bound=Section)

_UNKNOWN_KEY = "unexpected_keyword_argument"
_NOT_A_LIST = "tuple_type"

_WORDS = {
    _UNKNOWN_KEY: "is not a known key",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "path_type": "must be a path",
    _NOT_A_LIST: "must be a list, such as [one, two]",
    "dict_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
    "missing": "is required",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in a section: the path of the key, and a message without the value."""

    path: Path
    text: str
    is_unknown_key: bool = False
    is_not_a_list: bool = False

    def __str__(self) -> str:
        return f"{dotted(self.path)} {self.text}" if self.path else self.text


class Invalid(ValueError):
    """The data is not valid for the section; `faults` has at least one fault."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults))


def validated(section: type[AnySection], data: object) -> AnySection:
    """Return a section from a tree of texts, lists and mappings; raise `Invalid` on a fault."""
    try:
        # Mypy confuses the hash of a section with the hash of its class.
        result: AnySection = _validator(section).validate_python(data)  # type: ignore[arg-type]
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    else:
        return result
    raise Invalid(tuple(map(_fault, details)))


def shape_faults(value: Any, shape: Shape | None, path: Path) -> Iterator[Fault]:
    """Yield the faults of the value at `path` against a shape, which is None for an unknown key."""
    if shape is None:
        yield Fault(path, _WORDS[_UNKNOWN_KEY], is_unknown_key=True)
    elif isinstance(shape, Leaf):
        yield from _leaf_faults(value, shape.kind, path)
    elif isinstance(shape, ListOf) and not isinstance(value, list):
        yield Fault(path, _WORDS[_NOT_A_LIST], is_not_a_list=True)
    elif not isinstance(shape, ListOf) and not isinstance(value, dict):
        yield Fault(path, _WORDS["dict_type"])
    else:
        for part, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from shape_faults(item, child(shape, part), (*path, part))


def _leaf_faults(value: object, kind: object, path: Path) -> Iterator[Fault]:
    try:
        _validator(kind).validate_python(value)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            yield Fault(path, _in_words(detail))


@cache
def _validator(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _fault(error: ErrorDetails) -> Fault:
    kind = error["type"]
    return Fault(error["loc"], _in_words(error), kind == _UNKNOWN_KEY, kind == _NOT_A_LIST)


def _in_words(error: ErrorDetails) -> str:
    """Return a message that continues a sentence starting with the key, without the value."""
    kind, context = error["type"], dict[str, Any](error.get("ctx", {}))
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be {str(context['expected']).replace(chr(39), '')}"
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    return _WORDS.get(kind, "is not a valid value")
