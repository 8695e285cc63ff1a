"""An endpoint of the management API: who may ask it, what it reads, and how it is described."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from registry_server.api.bodies import described
from registry_server.api.models import Refusals

# Returns if the caller may ask; raises as an `AccessController` does.
Admission: TypeAlias = Callable[[HTTPConnection], Awaitable[None]]

# What anything may be answered with; the last are the registry's own failures.
_ALWAYS: tuple[int | str, ...] = (401, 403, 429, "5XX")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a method of a path, below the root of the API; GET answers HEAD as well.

    `handler` is FastAPI's: what it returns is what its annotation says, and its docstring is shown
    to callers, as the description. `refused` are statuses of its own refusals.
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
        """What Allow says of it."""
        return frozenset({"GET", "HEAD"} if self.method == "GET" else {self.method})

    def add_to(self, app: FastAPI) -> None:
        """Have `app` answer it. Who asks is found out before anything is read."""
        app.add_api_route(
            self.path,
            self.handler,
            methods=[self.method],
            dependencies=[Depends(self.admits)],
            summary=self.summary,
            status_code=self.status,
            responses={status: _refusal(status) for status in (*_ALWAYS, *self.refused)},
            openapi_extra=described(self.reads) if self.reads is not None else None,
        )


def _refusal(status: int | str) -> dict[str, Any]:
    failed = "the registry failed"
    phrase = HTTPStatus(status).phrase if isinstance(status, int) else failed
    return {"model": Refusals, "description": phrase}


def methods_by_path(endpoints: tuple[Endpoint, ...]) -> Mapping[str, frozenset[str]]:
    """Return all methods that each path has."""
    found: dict[str, frozenset[str]] = {}
    for each in endpoints:
        found[each.path] = found.get(each.path, frozenset()) | each.methods
    return found
