"""What is sent to the management API: JSON of a few KiB, as a model.

It is read when it is known who sends it, so whoever is refused has sent nothing yet if they wait
to be asked for it, and nobody has more than this read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from registry_server.api.problems import Fault, NotJson, RequestInvalid
from registry_server.config.problems import shown
from registry_server.v2.bodies import read_limited

LONGEST = 8 << 10  # bytes
_JSON = "application/json"
_MOST_FAULTS = 10

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def sent(model: type[AnyModel]) -> Callable[[Request], Awaitable[AnyModel]]:
    """Return the dependency that reads a body as `model`.

    It raises `NotJson`, `PayloadTooLarge` and `RequestInvalid`.
    """

    async def read(request: Request) -> AnyModel:
        # Only what a browser asks about first: a form of another page has other types (Fetch,
        # "CORS-safelisted request-header"), and would come with what the browser remembers.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise NotJson
        content = await read_limited(request, LONGEST)
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
        raise RequestInvalid([_fault(each) for each in faults[:_MOST_FAULTS]])

    return read


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return how OpenAPI says that an endpoint reads a body as `model`."""
    content = {_JSON: {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _fault(error: ErrorDetails) -> Fault:
    """Say what is wrong with a field, without what it holds."""
    field = ".".join(shown(str(part)) for part in error["loc"])
    if error["type"] == "value_error":
        return Fault(field, str(error["ctx"]["error"]))
    if error["type"] == "json_invalid":
        return Fault("body", "is not JSON")
    return Fault(field or "body", error["msg"])
