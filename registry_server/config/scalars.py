"""Booleans and integers, converted as distribution's YAML library does.

That library reads `y`, `on` and `yes` as booleans and `0x40` and `1e2` as numbers. A text in quotes
is neither. Other forms of booleans, such as "true" in quotes, are a warning. With two keys
distribution starts nevertheless, and they get the value that it uses. With all other keys it does
not start, and they get the intended value.
"""

import re
from collections.abc import Iterator

from registry_server.config import key_tree
from registry_server.config.document import Document, Value
from registry_server.config.document_shape import Keys, Leaf, ListOf, Shape
from registry_server.config.problems import Path

_CASES = (str.lower, str.capitalize, str.upper)
_TRUE = frozenset({"y", "Y", *(case(word) for word in ("yes", "true", "on") for case in _CASES)})
_FALSE = frozenset({"n", "N", *(case(word) for word in ("no", "false", "off") for case in _CASES)})
_INTENDED = {
    "true": ("true", "yes", "on", "y", "t", "1"),
    "false": ("false", "no", "off", "n", "f", "0"),
}

# The value that distribution uses for anything but a boolean, for the two keys it starts with.
_READ_BY_DISTRIBUTION = {
    ("storage", "delete", "enabled"): "false",
    ("storage", "maintenance", "uploadpurging", "enabled"): "true",
}

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_LONGEST = 40


def resolve(document: Document) -> None:
    """Rewrite booleans and integers in place to the form that the schema reads."""
    for path, kind, text in list(_scalars(document.data, key_tree.root(), ())):
        if kind is bool:
            _boolean(document, path, text)
        elif kind is int and path not in document.quoted and len(text) <= _LONGEST:
            _replace(document, path, _decimal(text))


def _scalars(value: Value, shape: Shape | None, path: Path) -> Iterator[tuple[Path, object, str]]:
    if isinstance(value, str) and isinstance(shape, Leaf):
        yield path, shape.kind, value
    elif isinstance(value, dict) and isinstance(shape, Keys):
        for name, child in value.items():
            yield from _scalars(child, shape.children.get(name), (*path, name))
    elif isinstance(value, list) and isinstance(shape, ListOf):
        for at, item in enumerate(value):
            yield from _scalars(item, shape.item, (*path, at))


def _boolean(document: Document, path: Path, text: str) -> None:
    plain = path not in document.quoted
    if plain and text in _TRUE | _FALSE:
        _replace(document, path, "true" if text in _TRUE else "false")
        return
    word = text.strip().lower()
    intended = next((value for value, forms in _INTENDED.items() if word in forms), None)
    read = _READ_BY_DISTRIBUTION.get(tuple(map(str, path)), intended)
    if read is not None:
        message = f"is not a YAML boolean and counts as {read}: write true or false without quotes"
        document.warn(path, message)
        _replace(document, path, read)


def _decimal(text: str) -> str:
    """Return a YAML number as decimal digits without its fraction, or another text unchanged."""
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
        return str(int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0))
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return str(int(number)) if abs(number) < 2**63 else text
    return text


def _replace(document: Document, path: Path, text: str) -> None:
    parent = document.value(path[:-1])
    if isinstance(parent, dict):
        parent[str(path[-1])] = text
    elif isinstance(parent, list) and isinstance(path[-1], int):
        parent[path[-1]] = text
