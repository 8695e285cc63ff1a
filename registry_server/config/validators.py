"""Annotations of a key's type that convert or refuse its value.

Each does what pydantic's class of the same name does. Pydantic calls them when it compiles the
schema. They import pydantic only then, so a process that receives validated settings does not need
it.
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
    """`convert` returns the value to use, or raises ValueError with what the value must be."""

    convert: Callable[..., Any]

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        import pydantic

        same = getattr(pydantic, type(self).__name__)(self.convert)
        schema: CoreSchema = same.__get_pydantic_core_schema__(source, handler)
        return schema


class BeforeValidator(_Validator):
    """Converts the value of the file before its type is checked."""


class AfterValidator(_Validator):
    """Converts a value of the right type.

    A function with a second parameter gets pydantic's ValidationInfo: its `data` has the valid
    values of the preceding keys of the section.
    """


class PlainValidator(_Validator):
    """Converts the value of the file; its type is not checked."""
