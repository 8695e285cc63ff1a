"""Sends sample requests to the application, so that `check` finds settings that break responses.

Otherwise the first client would get a 500. The application is built from the settings on storage in
memory. Nothing is written: no key, no htpasswd file, no line of the access log or audit log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Scope

from registry_server.api.paths import ROOT
from registry_server.config import Settings
from registry_server.config.access import Access
from registry_server.config.auth import Auth
from registry_server.config.limits import Limits
from registry_server.config.schema import AccessLog
from registry_server.serving.http1.answer_heads import answer_head
from registry_server.wiring.access.setup import TOKEN_PATH
from registry_server.wiring.app import build_for_check
from storage.drivers.memory import MemoryDriver

_HOST = (b"host", b"registry.example.com")
_WRONG = (b"authorization", b"Basic bm8tdXNlcjpuby1wYXNzd29yZA==")  # no-user:no-password
_FAILED = 500


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A request without a body; `path` is below the prefix."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    query: bytes = b""


def _sample_requests(settings: Settings) -> Iterator[SampleRequest]:
    """Yield a request for each kind of response that depends on settings."""
    yield SampleRequest("GET", "/")
    yield SampleRequest("GET", "/v2/")
    yield SampleRequest("GET", "/v2/", (_WRONG,))
    yield SampleRequest("GET", "/v2/app/manifests/latest")
    yield SampleRequest("GET", "/v2/_catalog")
    yield SampleRequest("POST", "/v2/app/blobs/uploads/")
    yield SampleRequest("GET", TOKEN_PATH)
    yield SampleRequest("GET", TOKEN_PATH, (_WRONG,))
    yield SampleRequest("GET", TOKEN_PATH, query=b"service=another")
    yield SampleRequest("GET", f"{ROOT}/robots")
    for origin in settings.http.cors.origins or ("https://ui.example.com",):
        asks = (b"access-control-request-method", b"DELETE")
        yield SampleRequest(
            "OPTIONS", "/v2/app/manifests/latest", ((b"origin", origin.encode()), asks)
        )


def first_failure(settings: Settings) -> str | None:
    """Return which request fails with these settings, None if all succeed (blocks).

    The files that the settings name must have been checked. The result repeats no setting's value.
    """
    quiet = _quiet(settings)
    # Access control refuses most requests. Without it some responses have a `Location`.
    stages = [quiet, _open(quiet)] if quiet.has_access_control else [quiet]
    # Building reads files, so it happens before the event loop starts.
    apps = [build_for_check(stage, MemoryDriver()) for stage in stages]
    return asyncio.run(_first_failure(settings, apps))


async def _first_failure(settings: Settings, apps: list[ASGIApp]) -> str | None:
    prefix = settings.http.prefix.rstrip("/")
    for app in apps:
        for request in _sample_requests(settings):
            failure = await failure_of(app, request, prefix)
            if failure:
                return failure
    return None


async def failure_of(app: ASGIApp, request: SampleRequest, prefix: str = "") -> str | None:
    """Send one request and render the head of the response; return the failure if any."""
    asked = f"{request.method} {request.path}"
    sent: list[Message] = []
    body: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not body:
            await asyncio.Event().wait()  # the client stays connected
        return body.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    try:
        await app(_scope(request, prefix), receive, send)
        start = sent[0]
        headers = tuple((name, value) for name, value in start["headers"])
        answer_head(start["status"], headers, bodiless=False, keep_alive=True)
    except Exception as error:  # any exception would be a 500
        return f"{asked} cannot be answered with these settings ({type(error).__name__})"
    if start["status"] >= _FAILED:
        return f"{asked} is answered {start['status']} with these settings"
    return None


def _scope(request: SampleRequest, prefix: str) -> Scope:
    path = prefix + request.path
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": request.query,
        "root_path": "",
        "headers": [_HOST, *request.headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def _quiet(settings: Settings) -> Settings:
    """Return the settings without logs, limits, and files that do not exist yet."""
    return replace(
        settings,
        log=replace(settings.log, accesslog=AccessLog(disabled=True)),
        audit=replace(settings.audit, enabled=False),
        limits=Limits(),
        http=replace(settings.http, allowedhosts=()),
        auth=_without_missing_users(settings),
    )


def _without_missing_users(settings: Settings) -> Auth:
    htpasswd = settings.auth.htpasswd
    if htpasswd is None or htpasswd.path is None or htpasswd.path.exists():
        return settings.auth
    return replace(settings.auth, htpasswd=replace(htpasswd, path=None))


def _open(settings: Settings) -> Settings:
    return replace(settings, auth=Auth(), access=Access())
