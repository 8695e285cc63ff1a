"""The endpoints of the management API: admission, body, handler and description."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from registry_server.api.bodies import openapi_body
from registry_server.api.models import Refusals

# Returns if the caller may use the endpoint; raises as an `AccessController` does.
Admission: TypeAlias = Callable[[HTTPConnection], Awaitable[None]]

# Error statuses of every endpoint; the last stands for failures of the registry.
_ALWAYS: tuple[int | str, ...] = (401, 403, 429, "5XX")


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A method of a path below the root of the API; GET includes HEAD.

    `handler` is called by FastAPI: its annotation describes the response, and its docstring is the
    public description. `refused` has the statuses of its own refusals.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    admits: Admission
    summary: str
    status: int = 200
    reads: type[BaseModel] | None = None
    refused: tuple[int, ...] = ()

    @property
    def methods(self) -> frozenset[str]:
        """Its methods for the Allow header."""
        return frozenset({"GET", "HEAD"} if self.method == "GET" else {self.method})

    def add_to(self, app: FastAPI) -> None:
        """Add the route to `app`. The caller is authorized before the body is read."""
        app.add_api_route(
            self.path,
            self.handler,
            methods=[self.method],
            dependencies=[Depends(self.admits)],
            summary=self.summary,
            status_code=self.status,
            responses={status: _refusal(status) for status in (*_ALWAYS, *self.refused)},
            openapi_extra=openapi_body(self.reads) if self.reads is not None else None,
        )


def _refusal(status: int | str) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase if isinstance(status, int) else "the registry failed"
    return {"model": Refusals, "description": phrase}


def methods_by_path(endpoints: tuple[ApiRoute, ...]) -> Mapping[str, frozenset[str]]:
    """Return the methods of each path."""
    methods: dict[str, frozenset[str]] = {}
    for endpoint in endpoints:
        methods[endpoint.path] = methods.get(endpoint.path, frozenset()) | endpoint.methods
    return methods
