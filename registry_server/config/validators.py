"""Annotations of a key's type that convert or refuse its value.

A class with the name of a pydantic class does the same as that class. Pydantic calls these classes
when it compiles the schema. They import pydantic only then, so a process that receives validated
settings does not need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class BeforeValidator:
    """Converts the value of the file before its type is checked."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.convert, handler(source))


@dataclass(frozen=True, slots=True)
class AfterValidator:
    """Converts a value of the right type; `convert` raises ValueError with what it must be."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.convert, handler(source))


@dataclass(frozen=True, slots=True)
class PlainValidator:
    """Converts the value of the file; its type is not checked."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.convert)


@dataclass(frozen=True, slots=True)
class SiblingValidator:
    """Converts a value of the right type, given the values of the preceding keys of its section.

    `convert` gets the value and a mapping of those keys to their values. A key whose value is not
    valid is not in the mapping.
    """

    convert: Callable[[Any, Mapping[str, Any]], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(
            lambda value, info: self.convert(value, info.data), handler(source)
        )
