"""Annotations of a key's type that convert or reject its value.

Each behaves as pydantic's class of the same name. They import pydantic only when it compiles the
schema, so a process that receives validated settings does not import it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class _Validator:
    """`convert` returns the value to use, or raises ValueError with a message."""

    convert: Callable[..., Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        import pydantic

        same = getattr(pydantic, type(self).__name__)(self.convert)
        schema: CoreSchema = same.__get_pydantic_core_schema__(source, handler)
        return schema


class BeforeValidator(_Validator):
    """Converts the raw value before its type is checked."""


class AfterValidator(_Validator):
    """Converts a value of the right type.

    A function with a second parameter gets pydantic's ValidationInfo, whose `data` has the valid
    values of the preceding keys.
    """


class PlainValidator(_Validator):
    """Converts the raw value; its type is not checked."""
