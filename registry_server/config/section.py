"""The base of every section of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, dataclass_transform


def key_of(name: str) -> str:
    """Return the key of a field: a word of Python has an underscore at its end, as in `from_`."""
    return name.removesuffix("_")


CONFIG: Mapping[str, Any] = {"extra": "forbid", "alias_generator": key_of}


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
@dataclass(frozen=True, kw_only=True)
class Section:
    """A mapping of the file: its keys are the fields, nothing else is allowed, nothing changes.

    Each subclass becomes a frozen dataclass. `validation` makes one of what the file has; a section
    that is made directly is not checked. `__post_init__` raises ValueError when keys that are
    valid by themselves do not fit together.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = CONFIG

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
