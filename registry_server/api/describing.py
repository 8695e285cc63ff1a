"""The OpenAPI document, from the endpoints themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

_VERSION = "1"
_ABOUT = (
    "Manages the registry. Every refusal, whatever its status, is an envelope of errors, the same "
    "as the one of the OCI distribution specification."
)
_SHOWN = {
    "password": {"type": "http", "scheme": "basic"},
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the registry's own, for registry:administration:*.",
    },
    "certificate": {"type": "mutualTLS"},
}


def describe(routes: Sequence[BaseRoute], server: str) -> dict[str, Any]:
    """Describe `routes`, which are below the URL `server`."""
    document = get_openapi(
        title="Registry management",
        version=_VERSION,
        description=_ABOUT,
        routes=routes,
        servers=[{"url": server}],
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI's own refusal of what it reads; ours is another one.
            operation["responses"].pop("422", None)
    components = document["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = _SHOWN
    document["security"] = [{name: []} for name in _SHOWN]
    return document
