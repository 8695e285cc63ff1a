"""Secret texts, which no message shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or a key. Its `repr`, and so messages and tracebacks, do not show the text."""

    text: str = field(default="", repr=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        # Not a union of `str` and `Secret`: pydantic would add its member to the path of an error.
        from_text = core_schema.no_info_after_validator_function(cls, core_schema.str_schema())
        return core_schema.no_info_before_validator_function(_text, from_text)


def _text(value: object) -> object:
    return value.text if isinstance(value, Secret) else value
