"""The management API as one ASGI application, mounted at `paths.ROOT`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from registry_server.api.openapi import describe
from registry_server.api.paths import OPENAPI, ROOT
from registry_server.api.refusals import PathUnknown
from registry_server.api.routes import Admission, ApiRoute, methods_by_path
from registry_server.http import errors
from registry_server.http.middleware import Headers

# Responses contain permissions and keys, which caches must not store.
_NO_STORE = (("Cache-Control", "no-store"),)


class Api:
    """Answers by `endpoints`, and serves their OpenAPI document to callers that `reads` admits.

    `prefix` is `http.prefix`.
    """

    def __init__(self, endpoints: tuple[ApiRoute, ...], reads: Admission, prefix: str) -> None:
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
        for endpoint in endpoints:
            endpoint.add_to(app)
        document = describe(app.routes, f"{prefix}{ROOT}")

        async def openapi() -> Response:
            return JSONResponse(document)

        description = ApiRoute("GET", OPENAPI, openapi, reads, "Describe the API")
        description.add_to(app)
        errors.install(app, self._refuse)
        self._app = Headers(app, _NO_STORE)
        self.methods: Mapping[str, frozenset[str]] = methods_by_path((*endpoints, description))
        self._paths = [(compile_path(path)[0], methods) for path, methods in self.methods.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the server sends no body in answer to HEAD."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Render an error by the error table, with the API's own 404 and Allow header."""
        if getattr(error, "status_code", None) == 404:
            error = PathUnknown()
        answer = await errors.render(request, error)
        if answer.status_code == 405:
            allowed = self._allowed(request.scope) - errors.switched_off(error)
            answer.headers["Allow"] = ", ".join(sorted(allowed))
        return answer

    def _allowed(self, scope: Mapping[str, Any]) -> frozenset[str]:
        path = str(scope["path"]).removeprefix(ROOT)
        matching = (methods for regex, methods in self._paths if regex.match(path))
        return next(matching, frozenset())
