"""The base of every section of the schema."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the file: its keys are the fields, nothing else is allowed, nothing changes.

    Values are hidden in pydantic's own errors too, since any of them may be a secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
