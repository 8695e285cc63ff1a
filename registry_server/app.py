"""Wiring: from settings to an ASGI application. It knows everyone and is known by nobody.

Counted ─ AccessLog ─ StripPrefix ─ Headers ─ Dispatcher ─ endpoints of /v2 ─ Gate
                                                  │                            │
                                  FastAPI ────────┘                            │
        AccessController ──────────────────────────────────────────────────────┤
        ReadOnlyRegistry or UndeletableRegistry ─ StoredRegistry ──────────────┘
                                                        │
                                                      Driver
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from registry_server import errors
from registry_server.auth.access import OpenAccess
from registry_server.config import Settings
from registry_server.gate import Gate
from registry_server.middleware import AccessLog, Counted, Headers, InFlight, StripPrefix
from registry_server.tasks import purge_uploads_for_ever
from registry_server.v2.dispatch import Dispatcher
from registry_server.v2.offload import Offload
from registry_server.v2.routes import endpoints
from registry_server.v2.urls import Urls
from storage.drivers.base import Driver
from storage.drivers.filesystem import FilesystemDriver
from storage.drivers.read_only import ReadOnlyDriver
from storage.interfaces import Registry
from storage.modes import ReadOnlyRegistry, UndeletableRegistry
from storage.registry import StoredRegistry
from storage.rules import IndexChildren, ManifestRules

# Seconds; long enough for an fsync of what a slow disk still has in its cache.
_LAST_WORDS = 30.0


def open_driver(settings: Settings) -> FilesystemDriver:
    """Open the configured storage; its root must exist."""
    filesystem = settings.storage.filesystem
    return FilesystemDriver(
        filesystem.rootdirectory, sync=filesystem.fsync, threads=filesystem.maxthreads
    )


def build(settings: Settings, driver: Driver) -> ASGIApp:
    """Build the application over `driver`, which its lifespan closes.

    It may be called any number of times in one process.
    """
    in_flight = InFlight()
    gate = Gate(open_registry(settings, driver), OpenAccess())
    app = FastAPI(
        title="registry",
        openapi_url=None,
        lifespan=_lifespan(settings, driver, in_flight),
        redirect_slashes=False,
    )
    app.router.routes.append(Route("/", _alive))
    errors.install(app)
    table = endpoints(
        gate,
        _urls(settings),
        Offload(settings.http.accelredirect),
        most_tags=settings.tags.maxtags or None,
        most_names=settings.catalog.maxentries,
    )
    return Counted(_wrapped(Dispatcher(table, rest=app), settings), in_flight)


def open_registry(settings: Settings, driver: Driver) -> Registry:
    """Assemble the stored registry and what the settings put around it."""
    rules = manifest_rules(settings)
    if settings.storage.maintenance.readonly.enabled:
        return ReadOnlyRegistry(StoredRegistry(ReadOnlyDriver(driver), rules))
    registry = StoredRegistry(driver, rules)
    return registry if settings.storage.delete.enabled else UndeletableRegistry(registry)


def _wrapped(app: ASGIApp, settings: Settings) -> ASGIApp:
    headers = settings.http.headers.items()
    extra = [(name, value) for name, values in headers for value in values]
    if extra:
        app = Headers(app, extra)
    prefix = settings.http.prefix.rstrip("/")
    if prefix:
        app = StripPrefix(app, prefix)
    return app if settings.log.accesslog.disabled else AccessLog(app)


def _lifespan(
    settings: Settings, driver: Driver, in_flight: InFlight
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    purging = settings.storage.maintenance.uploadpurging
    purges = purging.enabled and not settings.storage.maintenance.readonly.enabled

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(purge_uploads_for_ever(driver, purging)) if purges else None
        try:
            yield
        finally:
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            # Requests that outlasted the drain were cancelled a moment ago, and are writing down
            # how far their uploads came.
            await in_flight.finished(_LAST_WORDS)
            await driver.close()

    return lifespan


def _urls(settings: Settings) -> Urls:
    http = settings.http
    return Urls(
        host="" if http.relativeurls else http.host,
        prefix=http.prefix.rstrip("/"),
        from_request=http.relativeurls is False,
        trusted=http.trustedproxies,
    )


def manifest_rules(settings: Settings) -> ManifestRules:
    """Read off what a pushed manifest is checked for."""
    validation = settings.validation
    if not validation.active:
        return ManifestRules(children=IndexChildren.NONE)
    indexes, urls = validation.manifests.indexes, validation.manifests.urls
    return ManifestRules(
        children=IndexChildren(indexes.platforms),
        platforms=frozenset((one.os, one.architecture) for one in indexes.platformlist),
        allowed_urls=urls.allow,
        denied_urls=urls.deny,
    )


async def _alive(_: Request) -> Response:
    """GET /: what load balancers have asked registries for since the first one."""
    return Response(headers={"Cache-Control": "no-cache"})
