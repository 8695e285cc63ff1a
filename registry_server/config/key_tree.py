"""The schema as a tree of keys, and suggestions for unknown keys."""

import difflib
from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from registry_server.config import unimplemented
from registry_server.config.document_shape import Keys, Leaf, ListOf, MapOf, Shape, child
from registry_server.config.problems import Path, dotted, listed, shown
from registry_server.config.schema import Settings
from registry_server.config.section import Section, key_of

ITEM = "[]"

# A suggestion lists all keys of a section that has at most this many.
_FEW = 6


@cache
def root() -> Keys:
    """Return the shape of the whole configuration, with the keys that are not implemented."""
    return _section(Settings) | unimplemented.shape()


def at(path: Path) -> Shape | None:
    """Return the shape at `path`, or None if that is not a known key."""
    shape: Shape | None = root()
    for part in path:
        shape = None if shape is None else child(shape, part)
    return shape


def leaves(shape: Shape | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key with a value; `[]` stands for an item of a list."""
    shape = root() if shape is None else shape
    if isinstance(shape, Keys) and shape.children:
        for name, child in shape.children.items():
            yield from leaves(child, (*path, name))
    elif isinstance(shape, ListOf) and isinstance(shape.item, Keys):
        yield from leaves(shape.item, (*path, ITEM))
    else:
        yield path


def suggestion(path: Path) -> str:
    """Return a hint for the unknown key at `path`: a similar key, or the known ones."""
    parent, wrong = at(path[:-1]), str(path[-1])
    siblings = list(parent.children) if isinstance(parent, Keys) else []
    near = difflib.get_close_matches(wrong.lower(), siblings, n=1)
    if near:
        return f"did you mean {dotted((*path[:-1], near[0]))}?"
    elsewhere = [key for key in leaves() if key[-1] == wrong.lower()]
    if elsewhere:
        written = [".".join(key).replace(f".{ITEM}", ITEM) for key in elsewhere[:3]]
        return f"did you mean {listed(written, 'or')}?"
    place = f"under {dotted(path[:-1])}" if len(path) > 1 else "at the top"
    if 0 < len(siblings) <= _FEW:
        return f"known {place} {'are' if len(siblings) > 1 else 'is'} {listed(siblings)}"
    return f"the nearest is {_nearest(wrong, siblings)}" if siblings else f"none is known {place}"


def _nearest(wrong: str, names: list[str]) -> str:
    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, wrong[:100].lower(), name).ratio()

    return shown(max(names, key=likeness))


def _section(section: type[Section]) -> Keys:
    types = get_type_hints(section)
    return Keys({key_of(name): _shape(types[name]) for name in section.field_names()})


def _shape(annotation: Any) -> Shape:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shape(arguments[0])
    if origin in (Union, UnionType):
        present = [argument for argument in arguments if argument is not NoneType]
        return _shape(present[0]) if len(present) == 1 else Leaf(object)
    if origin is tuple:
        return ListOf(_shape(arguments[0]))
    if origin is dict:
        return MapOf(_shape(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _section(annotation)
    return Leaf(annotation)
