"""The base of every section of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform


def key_of(name: str) -> str:
    """Return the key of a field; a field has a final underscore if its key is a Python keyword."""
    return name.removesuffix("_")


# Pydantic's options for a section: unknown keys are errors, and `key_of` returns the keys.
CONFIG: Mapping[str, Any] = {"extra": "forbid", "alias_generator": key_of}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping in the configuration; its fields are the only keys allowed.

    Each subclass becomes a frozen dataclass. `validation.validated` creates an instance from the
    content of a file; the constructor itself checks no types or values. `__post_init__` raises
    ValueError if keys that are valid by themselves contradict each other. A field with a dict needs
    `hash=False`, because a dict has no hash.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = CONFIG

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields, in their order."""
        return tuple(item.name for item in fields(cls))
