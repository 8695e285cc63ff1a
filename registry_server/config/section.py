"""The base of every section of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform


def key_of(name: str) -> str:
    """Return the key of a field. A Python keyword has a final underscore as a field: `from_`."""
    return name.removesuffix("_")


# Pydantic's options for a section: an unknown key is an error, and `key_of` names the keys.
CONFIG: Mapping[str, Any] = {"extra": "forbid", "alias_generator": key_of}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping in the configuration. Its fields are its keys, and no other key is allowed.

    Each subclass becomes a frozen dataclass. `validation.validated` makes an instance from the
    content of a file. The constructor checks no types and no values. `__post_init__` raises
    ValueError when keys that are valid by themselves do not fit together. A field that holds a
    dict needs `hash=False`, because a dict has no hash.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = CONFIG

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields, in their order."""
        return tuple(each.name for each in fields(cls))
