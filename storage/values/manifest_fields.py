"""Readers for the fields of a manifest's document, one for each type.

Null counts as absent, because programs in Go write it for absent values. A field of another type
raises `ManifestInvalid`, whose message begins with `where`, the path of the field.

A key or a string may have 4 MiB, and the GIL is held while it is quoted or folded. So messages
quote only the beginning, and keys longer than every field name are not folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

from storage.errors import DigestInvalid, ManifestInvalid
from storage.values.digest import Digest
from storage.values.json_text import merged

Json: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

# Characters of a client's string that a message quotes.
_SHOWN = 80


def shown(text: str) -> str:
    """Quote a string for a message, cut to `_SHOWN` characters; a cut string ends in `…`."""
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


def expect(value: object, kind: type[T], where: str, expected: str) -> T:
    """Return `value` if it is of type `kind`; raise `ManifestInvalid` otherwise."""
    if not isinstance(value, kind):
        raise ManifestInvalid(f"{where} must be {expected}")
    return value


def has(document: Json, key: str) -> bool:
    """Return whether a document has a field."""
    return document.get(key) is not None


def text(document: Json, key: str, where: str = "") -> str:
    """Return a string, empty if it is absent."""
    value = document.get(key)
    if value is None or isinstance(value, str):
        return value or ""
    raise ManifestInvalid(f"{_path(key, where)} must be a string")


def text_or_null(value: object, where: str) -> str:
    """Return a string, empty for null, as Go reads it."""
    return "" if value is None else expect(value, str, where, "a string")


def each(
    document: Json, key: str, read: Callable[[object, str], T], where: str = ""
) -> tuple[T, ...]:
    """Return what `read` returns for each element of a list; an absent list is empty."""
    field = document.get(key)
    if field is None:
        return ()
    path = _path(key, where)
    values: Iterable[object] = expect(field, list, path, "a list")
    return tuple(read(value, f"{path}[{at}]") for at, value in enumerate(values))


def text_map(document: Json, key: str, where: str = "") -> Mapping[str, str]:
    """Return an object of strings, empty if it is absent; a null value is an empty string."""
    field = document.get(key)
    if field is None:
        return {}
    path = _path(key, where)
    pairs: Json = expect(field, dict, path, "an object")
    return {key: _text_at(key, value, path) for key, value in pairs.items()}


def _text_at(key: str, value: object, path: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise ManifestInvalid(f"{path}[{shown(key)}] must be a string")


def size(document: Json, where: str) -> int:
    """Return the size in bytes, 0 if it is absent.

    Docker and skopeo leave it out, or write -1, where a proxy hides it. Nothing relies on it.
    """
    value = document.get("size")
    if value is None:
        return 0
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ManifestInvalid(f"{where}.size must be a whole number of bytes")
    return value


def digest(document: Json, where: str) -> Digest:
    """Return the digest, which is required."""
    value: str = expect(document.get("digest"), str, f"{where}.digest", "a string")
    try:
        return Digest.parse(value)
    except DigestInvalid as error:
        raise ManifestInvalid(f"{where}.digest: {error}") from None


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The field names of an object, and how Go matches keys to them."""

    exact: frozenset[str]
    by_folded: Mapping[str, str]
    longest: int

    @classmethod
    def of(cls, *names: str) -> Self:
        """Build from the field names."""
        by_folded = {_fold(name): name for name in names}
        return cls(frozenset(names), by_folded, max(map(len, names)))

    def meant_by(self, key: str) -> str:
        """Return the field that Go matches a key to, or the key itself if there is none."""
        if len(key) > self.longest or key in self.exact:
            return key
        return self.by_folded.get(_fold(key), key)

    def has(self, key: str) -> bool:
        """Return whether Go matches a key to a field."""
        return self.meant_by(key) in self.exact


def expect_exact(document: Json, names: FieldNames, where: str) -> None:
    """Refuse a key that differs from a field's name only in case: programs in Go accept it."""
    for key in document:
        field = names.meant_by(key)
        if field != key:
            raise ManifestInvalid(f"{where} has the key {key!r}, which must be spelled {field!r}")


def folded(document: Json, names: FieldNames) -> Json:
    """Return `document` with the keys that Go matches to fields replaced by the field names."""
    return merged((names.meant_by(key), value) for key, value in document.items())


def _fold(key: str) -> str:
    # Go ignores the case of ASCII letters, and treats the Kelvin sign as k and the long s as s.
    # Folding never makes a key shorter.
    return key.lower().replace("\u017f", "s")


def _path(key: str, where: str) -> str:
    return f"{where}.{key}" if where else key


def readable_text(document: Json, key: str) -> str:
    """Return a string, empty if it is absent or of another type."""
    value = document.get(key)
    return value if isinstance(value, str) else ""


def readable_annotations(document: Json) -> Mapping[str, str]:
    """Return the annotations whose values are strings."""
    value = document.get("annotations")
    pairs = value.items() if isinstance(value, dict) else ()
    return {key: text for key, text in pairs if isinstance(text, str)}
