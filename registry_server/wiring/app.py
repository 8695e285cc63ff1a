"""Wiring: builds the ASGI application from settings. Only `commands` imports it.

Reloadable ─ InFlightTracker ─ BodyPace ─ RequestIds ─ AccessLog ─ CancelledRequests ┐
  ┌──────────────────────────────────────────────────────────────────────────────────┘
  └ StripPrefix ─ AllowedHosts ─ Cors ─ Headers ─ Audit ┐
  ┌─────────────────────────────────────────────────────┘
  └ RequestLimits ─ UploadLimits ─ CrossSite ─ Dispatcher ─ endpoints of /v2 ─ Gate ────────┐
                           RejectNewlines ─ Starlette ─┘                                    │
                                               └ Api ─ endpoints of /api/v1 ─ RobotStore    │
        AccessController ───────────────────────────────────────────────────────────────────┤
        ReadOnlyRegistry or UndeletableRegistry ─ LimitedRegistry ─ StoredRegistry ─────────┘
                                                                          │
                                                                        Driver

A reload rebuilds all of these except the first and the last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from registry_server.api import paths
from registry_server.audit import Audit, Sinks
from registry_server.config import Settings
from registry_server.config.expression import Expression
from registry_server.http import errors
from registry_server.http.access_log import AccessLog
from registry_server.http.allowed_hosts import AllowedHosts
from registry_server.http.clients import client_address
from registry_server.http.cors import Cors
from registry_server.http.cross_site import CrossSite
from registry_server.http.extensions import Pace
from registry_server.http.in_flight import CancelledRequests
from registry_server.http.middleware import Headers, RejectNewlines, StripPrefix
from registry_server.http.reloadable import AppAndJobs, BackgroundJob, Reloadable
from registry_server.http.request_ids import RequestIds
from registry_server.jobs.job import CollectionJob
from registry_server.jobs.purging import run_upload_purging
from registry_server.jobs.schedule import run_gc_schedule
from registry_server.limits import BodyPace, RequestLimits, UploadLimits
from registry_server.serving.http1.pace import DEFAULT as DEFAULT_PACE
from registry_server.v2.accel_redirect import AccelRedirect
from registry_server.v2.dispatch import Dispatcher, admit_all
from registry_server.v2.gate import Gate
from registry_server.v2.routes import routes
from registry_server.v2.urls import Urls
from registry_server.wiring.access.setup import (
    TOKEN_PATH,
    AccessSetup,
    assemble_access,
    assemble_access_for_check,
)
from storage.drivers.base import Driver
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.drivers.read_only import ReadOnlyDriver
from storage.interfaces import Registry
from storage.repository.modes import ReadOnlyRegistry, UndeletableRegistry
from storage.repository.registry import StoredRegistry
from storage.values.manifest_policy import IndexChildren, ManifestPolicy
from storage.values.url_policy import Matcher, UrlPolicy

_CORS = "access-control-"
_ROBOTS = f"{paths.ROOT}{paths.ROBOTS}"


def open_driver(settings: Settings) -> Driver:
    """Open the configured storage; its root directory, if it has one, must exist."""
    if settings.storage.root is None:
        from storage.drivers.memory import MemoryDriver

        return MemoryDriver()
    filesystem = settings.storage.filesystem
    return FilesystemDriver(
        filesystem.rootdirectory, sync=filesystem.fsync, threads=filesystem.maxthreads
    )


def build(settings: Settings, driver: Driver) -> Reloadable:
    """Build the application on `driver`, which its lifespan closes.

    It may be called any number of times in one process. `Reloadable.apply` applies other settings;
    `merge_settings` decides which of them need a restart.
    """
    sinks = Sinks()

    async def close() -> None:
        await sinks.close()
        await driver.close()

    return Reloadable(lambda newest: _app_and_jobs(newest, driver, sinks), settings, close)


def build_for_check(settings: Settings, driver: Driver) -> ASGIApp:
    """Build the application for `response_check`; no file is created."""
    return _app_and_jobs(settings, driver, Sinks(), assemble_access_for_check).app


def _app_and_jobs(
    settings: Settings,
    driver: Driver,
    sinks: Sinks,
    assemble_access: Callable[[Settings, Urls], AccessSetup] = assemble_access,
) -> AppAndJobs:
    """Build the part of the application that a reload replaces."""
    urls = _urls(settings)
    access_setup = assemble_access(settings, urls)
    gate = Gate(
        open_registry(settings, driver),
        access_setup.access,
        admits_by_certificate=settings.http.tls.admits_by_certificate,
        address=partial(client_address, trusted=settings.http.trusted),
    )
    table = routes(
        gate,
        urls,
        AccelRedirect(settings.http.accelredirect),
        most_tags=settings.tags.maxtags or None,
        most_names=settings.catalog.maxentries,
        largest_manifest=settings.limits.manifests.size,
    )
    # A browser's preflight carries no credentials.
    admit = admit_all if _answers_preflights(settings) else gate.base
    return AppAndJobs(
        _wrapped(
            Dispatcher(table, RejectNewlines(_beside(access_setup)), urls.prefix, admit),
            settings,
            sinks,
        ),
        tuple(_jobs(settings, driver)),
    )


def _beside(access_setup: AccessSetup) -> Starlette:
    """Build the application outside of `/v2`: `/`, the token server and the management API."""
    # FastAPI costs 7 MiB, so it is imported only with the management API.
    app = Starlette(routes=[Route("/", _alive, methods=["GET", "OPTIONS"]), *access_setup.routes])
    app.router.redirect_slashes = False
    if access_setup.api is not None:
        app.mount(paths.ROOT, access_setup.api)
    errors.install(app)
    return app


def _answers_preflights(settings: Settings) -> bool:
    """Return True if `http.headers` has CORS headers, as configurations of distribution may."""
    return any(name.lower().startswith(_CORS) for name in settings.http.headers)


def _jobs(settings: Settings, driver: Driver) -> Iterator[BackgroundJob]:
    """Yield the background jobs; none in read-only mode, because all of them write."""
    maintenance = settings.storage.maintenance
    if maintenance.readonly.enabled:
        return
    if maintenance.uploadpurging.enabled:
        yield partial(run_upload_purging, driver, maintenance.uploadpurging)
    if maintenance.garbagecollection.enabled and settings.storage.root is not None:
        collection = maintenance.garbagecollection
        yield partial(run_gc_schedule, driver, collection, collection_job(settings))


def collection_job(settings: Settings) -> CollectionJob:
    """Return the settings of the garbage collector as a job."""
    filesystem, collection = (
        settings.storage.filesystem,
        settings.storage.maintenance.garbagecollection,
    )
    return CollectionJob(
        root=str(filesystem.rootdirectory.absolute()),
        fsync=filesystem.fsync,
        interval=collection.interval.total_seconds(),
        grace=collection.grace.total_seconds(),
        delete_untagged=collection.deleteuntagged,
    )


def open_registry(settings: Settings, driver: Driver) -> Registry:
    """Build the stored registry and the wrappers that the settings require."""
    rules = manifest_rules(settings)
    if settings.storage.maintenance.readonly.enabled:
        return ReadOnlyRegistry(StoredRegistry(ReadOnlyDriver(driver), rules))
    grace = settings.storage.maintenance.garbagecollection.grace.total_seconds()
    registry = _with_quotas(StoredRegistry(driver, rules, grace=grace), settings, driver)
    return registry if settings.storage.delete.enabled else UndeletableRegistry(registry)


def _with_quotas(registry: Registry, settings: Settings, driver: Driver) -> Registry:
    if not settings.limits.repositories:
        return registry
    from registry_server.limits.repositories import RepositoryLimits
    from storage.repository.quotas import LimitedRegistry

    return LimitedRegistry(registry, driver, RepositoryLimits(settings.limits.repositories))


def _wrapped(app: ASGIApp, settings: Settings, sinks: Sinks) -> ASGIApp:
    address = partial(client_address, trusted=settings.http.trusted)
    if _refuses_pages(settings):
        app = CrossSite(app, _origins(settings), settings.http.host, paths.ABOVE)
    app = _limited(app, settings, address)
    # Inside StripPrefix, so it sees paths without prefix; outside the limits, so it sees refusals.
    if settings.audit.enabled:
        app = Audit(app, sinks.at(settings.audit.file), address, login=TOKEN_PATH, robots=_ROBOTS)
    headers = settings.http.headers.items()
    extra = [(name, value) for name, values in headers for value in values]
    if extra:
        app = Headers(app, extra, private=paths.ABOVE)
    cors = settings.http.cors
    if cors.origins:
        age = int(cors.maxage.total_seconds())
        app = Cors(app, cors.origins, age, credentials=cors.credentials, private=paths.ABOVE)
    if settings.http.allowedhosts:
        app = AllowedHosts(app, settings.http.allowedhosts)
    prefix = settings.http.prefix.rstrip("/")
    if prefix:
        app = StripPrefix(app, prefix)
    app = CancelledRequests(app)
    if not settings.log.accesslog.disabled:
        app = AccessLog(app, address)
    app = RequestIds(app, settings.http.trusted)
    # Outermost: after an early response the connection still has to read and discard the body.
    pace = _pace(settings)
    return app if pace == DEFAULT_PACE else BodyPace(app, pace)


def _refuses_pages(settings: Settings) -> bool:
    """Return True if a web page could gain access through the user's browser.

    The browser adds a password or a client certificate, or reaches a registry that accepts only
    local clients.
    """
    http = settings.http
    return settings.has_access_control or http.tls.admits_by_certificate or bool(http.allowedhosts)


def _origins(settings: Settings) -> Iterator[str]:
    """Yield the origins of `http.cors`, and of `Access-Control-Allow-Origin` in `http.headers`."""
    yield from settings.http.cors.origins
    for name, values in settings.http.headers.items():
        if name.lower() == f"{_CORS}allow-origin":
            yield from values


def _pace(settings: Settings) -> Pace:
    bodies = settings.limits.bodies
    return Pace(bodies.least, bodies.within.total_seconds())


def _limited(app: ASGIApp, settings: Settings, address: Callable[[Scope], str]) -> ASGIApp:
    uploads, requests = settings.limits.uploads, settings.limits.requests
    if uploads.perclient or uploads.total:
        app = UploadLimits(app, per_client=uploads.perclient, total=uploads.total, address=address)
    if requests.perclient or requests.total:
        app = RequestLimits(
            app,
            per_client=requests.perclient,
            total=requests.total,
            burst=requests.burst,
            address=address,
        )
    return app


def _urls(settings: Settings) -> Urls:
    http = settings.http
    return Urls(
        host=http.host,
        prefix=http.prefix.rstrip("/"),
        relative=http.relativeurls,
        trusted=http.trusted,
    )


def manifest_rules(settings: Settings) -> ManifestPolicy:
    """Return the checks for pushed manifests."""
    validation, most = settings.validation, settings.limits.manifests.references
    if not validation.active:
        return ManifestPolicy(children=IndexChildren.NONE, most_references=most)
    indexes, urls = validation.manifests.indexes, validation.manifests.urls
    return ManifestPolicy(
        children=IndexChildren(indexes.platforms),
        platforms=frozenset((item.os, item.architecture) for item in indexes.platformlist),
        urls=UrlPolicy(_compiled(urls.allow), _compiled(urls.deny)),
        most_references=most,
    )


def _compiled(expressions: Iterable[Expression]) -> tuple[Matcher, ...]:
    return tuple(expression.compiled() for expression in expressions)


async def _alive(_: Request) -> Response:
    """Answer GET and OPTIONS of `/`, which load balancers use as a health check."""
    return Response(headers={"Cache-Control": "no-cache"})
