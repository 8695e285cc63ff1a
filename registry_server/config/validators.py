"""What the type of a key is annotated with: how its text is converted, and what is refused.

These do what pydantic's classes of the same names do. They import pydantic only when it compiles
the schema, so a process that gets settings which were validated elsewhere does not need it.
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
    """Converts what the file has before its type is looked at."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(self.convert, handler(source))


@dataclass(frozen=True, slots=True)
class AfterValidator:
    """Converts a value of the right type, or raises ValueError with what it should be."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.convert, handler(source))


@dataclass(frozen=True, slots=True)
class PlainValidator:
    """Converts what the file has; its type is not looked at."""

    convert: Callable[[Any], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.convert)


@dataclass(frozen=True, slots=True)
class SiblingValidator:
    """Checks a value beside the valid ones among the keys before it, which it gets by name."""

    convert: Callable[[Any, Mapping[str, Any]], Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.with_info_after_validator_function(
            lambda value, info: self.convert(value, info.data), handler(source)
        )
