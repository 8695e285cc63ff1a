"""Reads request bodies of the management API: JSON of a few KiB, validated as a model.

A body is read after the caller is authorized. So a refused client that waits for `100 Continue` has
sent nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import Request

from registry_server.api.refusals import Fault, NotJson, RequestInvalid
from registry_server.config.problems import shown
from registry_server.v2.bodies import read_limited

LONGEST = 8 << 10  # bytes
_JSON = "application/json"
_MOST_FAULTS = 10

AnyModel = TypeVar("AnyModel", bound=BaseModel)


def body_of(model: type[AnyModel]) -> Callable[[Request], Awaitable[AnyModel]]:
    """Return a FastAPI dependency that reads a body as `model`.

    It raises `NotJson`, `PayloadTooLarge` or `RequestInvalid`.
    """

    async def read(request: Request) -> AnyModel:
        # A browser sends this type to another origin only after a preflight. Forms have other types
        # (Fetch, "CORS-safelisted request-header"), and would carry the browser's credentials.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _JSON:
            raise NotJson
        content = await read_limited(request, LONGEST)
        try:
            return model.model_validate_json(content)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
        raise RequestInvalid([_fault(fault) for fault in faults[:_MOST_FAULTS]])

    return read


def openapi_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI description of a body that is read as `model`."""
    content = {_JSON: {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _fault(error: ErrorDetails) -> Fault:
    """Return the fault of a field, without the field's value."""
    field = ".".join(shown(str(part)) for part in error["loc"])
    if error["type"] == "value_error":
        return Fault(field, str(error["ctx"]["error"]))
    if error["type"] == "json_invalid":
        return Fault("body", "is not JSON")
    return Fault(field or "body", error["msg"])
