"""Running: find out what could go wrong first, then serve with one process or several."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import resource
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from uvicorn import Config

from registry_server import guard, listening, logs, startup, volume
from registry_server.announcer import Announcer
from registry_server.app import build, open_driver
from registry_server.certificates import Certificates
from registry_server.config import ConfigError, Loaded, Settings
from registry_server.http1.connection import Connection
from registry_server.reloadable import Reloadable
from registry_server.reloading import Settled, settle
from registry_server.workers.alone import LoneServer
from registry_server.workers.pulse import Pulse
from registry_server.workers.renewal import Renewal
from registry_server.workers.signals import hold_back
from registry_server.workers.start_limit import ended_in_time
from registry_server.workers.supervisor import Supervisor
from registry_server.workers.work import Work
from registry_server.workers.worker import Worker
from storage.drivers.filesystem import FilesystemDriver, make_ready

logger = logging.getLogger(__name__)

# Docker keeps connections and comes back to them between layers.
_KEEP_ALIVE = 75

# Objects made before the collector looks for cycles among them; our own code makes none.
_COLLECT_AFTER = 20_000


class Rereading:
    """The settings in force, and the way to what the configuration says by now."""

    def __init__(
        self, settings: Settings, read: Callable[[], Loaded], announcer: Announcer
    ) -> None:
        self._settings = settings
        self._root = settings.storage.root
        self._read = read
        self.announcer = announcer

    def read(self) -> Settled | None:
        """Read and check the configuration; None if it can't be used, and the log says why."""
        try:
            startup.check_served(self._root)
            settled = settle(self._settings, startup.fit_to_volume(self._read(), self._root))
            warnings = startup.check(settled.settings)
        except ConfigError as error:
            problems: tuple[str, ...] = error.problems
        except startup.StartupError as error:
            problems = (str(error),)
        else:
            more = (*map(str, warnings), *startup.warnings(settled.settings))
            return replace(settled, warnings=(*settled.warnings, *more))
        for problem in problems:
            logger.error("the configuration can't be used, the old one stays: %s", problem)
        return None

    def take(self, settled: Settled) -> None:
        """Have these settings be those in force; log by them, and log what changed."""
        self._settings = self.announcer.settings = settled.settings
        logs.configure(settled.settings.log)
        for warning in settled.warnings:
            logger.warning(warning)
        keys = ", ".join(settled.changed)
        logger.info("the configuration was read anew; %s changed", keys or "nothing")


def serve(loaded: Loaded, read: Callable[[], Loaded]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; raise `StartupError` if that can't begin.

    `read` reads the configuration again, at SIGHUP. Raises `WorkersFailed` when workers can't be
    started or kept.
    """
    hold_back()
    settings = loaded.settings
    root = settings.storage.root
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _rest)
    with volume.removed_on_failure(root):
        with ended_in_time():
            settings = _checked(settings, root)
            listeners = listening.listen(settings.http.endpoint)
        try:
            # After binding the address: if that fails, no signing key is left behind.
            with ended_in_time():
                _prepare(settings, root)
            for problem in loaded.exposure:
                logger.warning("%s", problem)
            addresses = listening.bound(listeners, settings.http.endpoint)
            logger.debug("bound to %s", " and ".join(map(str, addresses)))
            announcer = Announcer(settings, loaded.file, addresses)
            _run(settings, listeners, Rereading(settings, read, announcer))
        finally:
            listening.remove_socket(settings.http.endpoint)


def _checked(settings: Settings, root: Path | None) -> Settings:
    """Return the settings for this volume; log warnings about the machine."""
    startup.prepare_root(settings)
    settings = _fitted(settings, root)
    startup.check_tls(settings)
    for warning in startup.warnings(settings):
        logger.warning(warning)
    return settings


def _prepare(settings: Settings, root: Path | None) -> None:
    """Create the files that serving needs, log warnings about them, and raise process limits."""
    startup.check_audit(settings)
    for problem in startup.check_access(settings, guard.prepare):
        logger.warning("%s", problem)
    if root is not None and not settings.storage.maintenance.readonly.enabled:
        make_ready(root)
    _raise_descriptor_limit()


def _fitted(settings: Settings, root: Path | None) -> Settings:
    """Return the settings for this volume, and log what that changes."""
    fitted = startup.fit_to_volume(Loaded(settings, ()), root)
    for warning in fitted.warnings:
        logger.warning(warning)
    return fitted.settings


def _rest(*_: object) -> None:
    """Do nothing: uvicorn, when it has drained, raises once more the signal it drained for."""


def _run(settings: Settings, listeners: Sequence[socket.socket], rereading: Rereading) -> None:
    """Serve in this process if one is enough, else in workers forked from it."""
    config = _config(settings)
    if config.workers == 1:
        server = LoneServer(config, partial(_reload, rereading), rereading.announcer)
        server.run(sockets=[*listeners])
        return
    config.get_loop_factory()  # imports uvloop, which each worker would otherwise do for itself
    _settle_memory()

    def work(config: Config) -> Work:
        def run_worker(channel: socket.socket, pulse: Pulse) -> None:
            Worker(config, channel, pulse).run(sockets=[*listeners])

        return Work(run_worker, config.timeout_graceful_shutdown or 0)

    def take(settled: Settled | None) -> Work | None:
        if settled is None:
            return None
        rereading.take(settled)
        return work(_config(settled.settings))

    # This process has no threads, so it can fork a child that reads. Its memory ends with it.
    renewal = Renewal(rereading.read, take)
    Supervisor(work(config), listeners, config.workers, renewal, rereading.announcer).run()


async def _reload(rereading: Rereading, server: LoneServer) -> None:
    """Have a server go by what the configuration says now; what is in flight goes by the old."""
    settled = await asyncio.to_thread(rereading.read)
    if settled is None:
        return
    certificates = _certificates(settled.settings)
    context = await asyncio.to_thread(certificates.first) if certificates is not None else None
    # Keys are read by who makes a guard: they may be others in the same files.
    if settled.changed or settled.settings.is_guarded:
        app: Reloadable = server.config.loaded_app
        await app.use(settled.settings)
        server.config.timeout_graceful_shutdown = _drain_seconds(settled.settings)
    rereading.take(settled)
    if certificates is not None and context is not None:
        await server.secure(certificates, context)
    gc.unfreeze()  # or what was made for the old settings would stay for ever
    _settle_memory()


def _build(settings: Settings) -> Reloadable:
    """Build the application, in the process that serves it."""
    driver = open_driver(settings)
    if isinstance(driver, FilesystemDriver):
        driver.start()
    app = build(settings, driver)
    _settle_memory()
    return app


def _settle_memory() -> None:
    """Spare the collector what was made to stay.

    It went over all of it while answering: listing 10,000 tags took a quarter less time without.
    And it wrote to every object, so that workers did not share the pages for long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _raise_descriptor_limit() -> None:
    """Take all the descriptors the system grants: each download and each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(settings: Settings) -> Config:
    return Config(
        partial(_build, settings),
        factory=True,
        interface="asgi3",
        http=Connection,
        ws="none",
        lifespan="on",
        workers=settings.http.workers,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=listening.BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_drain_seconds(settings),
        ssl_context_factory=_certificates(settings),
    )


def _certificates(settings: Settings) -> Certificates | None:
    return Certificates(settings.http.tls) if settings.http.tls.certificate is not None else None


def _drain_seconds(settings: Settings) -> int:
    return math.ceil(settings.http.draintimeout.total_seconds())
