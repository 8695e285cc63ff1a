"""A text that is not to be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or a key; its `repr`, and so every message and traceback, lacks the text."""

    text: str = field(default="", repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        # A union of the two would name its members in the path of an error.
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.no_info_before_validator_function(_text, from_text)


def _text(value: object) -> object:
    return value.text if isinstance(value, Secret) else value
