"""Generates the OpenAPI document from the endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

_VERSION = "1"
_ABOUT = (
    "Manages the registry. Every refusal has the error envelope of the OCI distribution "
    "specification as its body."
)
_CREDENTIALS = {
    "password": {"type": "http", "scheme": "basic"},
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the registry's own, for registry:administration:*.",
    },
    "certificate": {"type": "mutualTLS"},
}


def describe(routes: Sequence[BaseRoute], server: str) -> dict[str, Any]:
    """Return the OpenAPI document of `routes` below the URL `server`."""
    document = get_openapi(
        title="Registry management",
        version=_VERSION,
        description=_ABOUT,
        routes=routes,
        servers=[{"url": server}],
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            # FastAPI's own refusal of invalid bodies, which `bodies` replaces.
            operation["responses"].pop("422", None)
    components = document["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = _CREDENTIALS
    document["security"] = [{name: []} for name in _CREDENTIALS]
    return document
