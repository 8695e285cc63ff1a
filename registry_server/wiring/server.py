"""Runs the registry: checks everything that can fail, then serves with one or several processes."""

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

from registry_server import logs
from registry_server.config import ConfigError, LoadedSettings, Settings
from registry_server.http.reloadable import Reloadable
from registry_server.serving import sockets, volume
from registry_server.serving.announcer import Announcer
from registry_server.serving.http1.connection import Connection
from registry_server.serving.startup_error import StartupError
from registry_server.serving.tls.certificates import Certificates
from registry_server.serving.workers.heartbeat import Heartbeat
from registry_server.serving.workers.reload_process import ReloadProcess
from registry_server.serving.workers.signals import block_signals
from registry_server.serving.workers.single_server import SingleServer
from registry_server.serving.workers.start_limit import startup_time_limit
from registry_server.serving.workers.supervisor import Supervisor
from registry_server.serving.workers.worker_process import WorkerSpec
from registry_server.serving.workers.worker_server import WorkerServer
from registry_server.wiring import startup
from registry_server.wiring.access import setup
from registry_server.wiring.app import build, open_driver
from registry_server.wiring.settings_merge import MergedSettings, merge_settings
from storage.drivers.filesystem.driver import FilesystemDriver, make_ready

logger = logging.getLogger(__name__)

# Seconds; Docker reuses its connections between layers.
_KEEP_ALIVE = 75

# Allocations before Python's garbage collector runs; our own code makes no reference cycles.
_COLLECT_AFTER = 20_000


class ConfigurationReloader:
    """Reads the configuration again, compares it with the settings in force, and applies it."""

    def __init__(
        self, settings: Settings, read: Callable[[], LoadedSettings], announcer: Announcer
    ) -> None:
        self._settings = settings
        self._root = settings.storage.root
        self._read = read
        self.announcer = announcer

    def read(self) -> MergedSettings | None:
        """Read and check the configuration; log the problems and return None if it is invalid."""
        try:
            startup.check_served(self._root)
            merged = merge_settings(self._settings, startup.fit_to_volume(self._read(), self._root))
            warnings = startup.check(merged.settings)
        except ConfigError as error:
            problems: tuple[str, ...] = error.problems
        except StartupError as error:
            problems = (str(error),)
        else:
            more = (*map(str, warnings), *startup.warnings(merged.settings))
            return replace(merged, warnings=(*merged.warnings, *more))
        for problem in problems:
            logger.error(
                "the reload failed; the previous configuration stays in force: %s", problem
            )
        return None

    def apply(self, merged: MergedSettings) -> None:
        """Put these settings in force, reconfigure the log, and log which keys changed."""
        self._settings = self.announcer.settings = merged.settings
        logs.configure(merged.settings.log)
        for warning in merged.warnings:
            logger.warning(warning)
        keys = ", ".join(merged.changed)
        logger.info("configuration reloaded; changed: %s", keys or "nothing")


def serve(loaded: LoadedSettings, read: Callable[[], LoadedSettings]) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    `read` reads the configuration again at SIGHUP. Raises `StartupError` if the server can't start,
    and `WorkersFailed` if workers can't be started or kept running.
    """
    block_signals()
    settings = loaded.settings
    root = settings.storage.root
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    with volume.removed_on_failure(root):
        with startup_time_limit():
            settings = _checked(settings, root)
            listeners = sockets.listen(settings.http.listen_address)
        try:
            # After binding the address, so that a failure to bind leaves no new signing key behind.
            with startup_time_limit():
                _prepare(settings, root)
            for problem in loaded.exposure:
                logger.warning("%s", problem)
            addresses = sockets.bound(listeners, settings.http.listen_address)
            logger.debug("bound to %s", " and ".join(map(str, addresses)))
            announcer = Announcer(settings, loaded.file, addresses)
            _run(settings, listeners, ConfigurationReloader(settings, read, announcer))
        finally:
            sockets.remove_socket(settings.http.listen_address)


def _checked(settings: Settings, root: Path | None) -> Settings:
    """Create and check the root directory; return the settings that fit it; log warnings."""
    startup.prepare_root(settings)
    settings = _fitted(settings, root)
    startup.check_tls(settings)
    for warning in startup.warnings(settings):
        logger.warning(warning)
    return settings


def _prepare(settings: Settings, root: Path | None) -> None:
    """Create the files that serving needs, log warnings about them, and raise process limits."""
    startup.check_audit(settings)
    for problem in startup.check_access(settings, setup.prepare):
        logger.warning("%s", problem)
    if root is not None and not settings.storage.maintenance.readonly.enabled:
        make_ready(root)
    _raise_descriptor_limit()


def _fitted(settings: Settings, root: Path | None) -> Settings:
    """Return the settings, read-only if the volume is; log a warning then."""
    fitted = startup.fit_to_volume(LoadedSettings(settings, ()), root)
    for warning in fitted.warnings:
        logger.warning(warning)
    return fitted.settings


def _ignore(*_: object) -> None:
    """Do nothing: after the drain uvicorn raises again the signal that started it."""


def _run(
    settings: Settings, listeners: Sequence[socket.socket], reloader: ConfigurationReloader
) -> None:
    """Serve in this process, or in workers forked from it if there are several."""
    config = _config(settings)
    if config.workers == 1:
        server = SingleServer(config, partial(_reload, reloader), reloader.announcer)
        server.run(sockets=[*listeners])
        return
    config.get_loop_factory()  # imports uvloop here, so that not every worker does
    _freeze_objects()

    def spec(config: Config) -> WorkerSpec:
        def run_worker(channel: socket.socket, heartbeat: Heartbeat) -> None:
            WorkerServer(config, channel, heartbeat).run(sockets=[*listeners])

        return WorkerSpec(run_worker, config.timeout_graceful_shutdown or 0)

    def apply(merged: MergedSettings | None) -> WorkerSpec | None:
        if merged is None:
            return None
        reloader.apply(merged)
        return spec(_config(merged.settings))

    # A forked child reads, because this process has no threads. Its memory is freed when it exits.
    process = ReloadProcess(reloader.read, apply)
    Supervisor(spec(config), listeners, config.workers, process, reloader.announcer).run()


async def _reload(reloader: ConfigurationReloader, server: SingleServer) -> None:
    """Reload the configuration of a single-process server; requests in flight keep the old one."""
    merged = await asyncio.to_thread(reloader.read)
    if merged is None:
        return
    certificates = _certificates(merged.settings)
    context = await asyncio.to_thread(certificates.first) if certificates is not None else None
    # The signing keys in the same files may have changed; rebuilding access control reads them.
    if merged.changed or merged.settings.has_access_control:
        app: Reloadable = server.config.loaded_app
        await app.apply(merged.settings)
        server.config.timeout_graceful_shutdown = _drain_seconds(merged.settings)
    reloader.apply(merged)
    if certificates is not None and context is not None:
        await server.replace_certificates(certificates, context)
    gc.unfreeze()  # otherwise the objects of the old settings would never be collected
    _freeze_objects()


def _build(settings: Settings) -> Reloadable:
    """Build the application, in the process that serves it."""
    driver = open_driver(settings)
    if isinstance(driver, FilesystemDriver):
        driver.start()
    app = build(settings, driver)
    _freeze_objects()
    return app


def _freeze_objects() -> None:
    """Exclude the long-lived objects from Python's garbage collection.

    Traversing them cost a quarter of the time to list 10,000 tags. It also writes to every object,
    so workers would stop sharing those memory pages.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _raise_descriptor_limit() -> None:
    """Raise the soft limit of descriptors to the hard limit, for connections and downloads."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))


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
        backlog=sockets.BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_drain_seconds(settings),
        ssl_context_factory=_certificates(settings),
    )


def _certificates(settings: Settings) -> Certificates | None:
    return Certificates(settings.http.tls) if settings.http.tls.certificate is not None else None


def _drain_seconds(settings: Settings) -> int:
    return math.ceil(settings.http.draintimeout.total_seconds())
