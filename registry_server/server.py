"""Running: find out what could go wrong first, then serve with one process or several."""

from __future__ import annotations

import contextlib
import gc
import math
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.types import ASGIApp
from uvicorn import Config

from registry_server import listening, startup, tls
from registry_server.app import build, open_driver
from registry_server.config import Endpoint, Settings
from registry_server.http1.connection import Connection
from registry_server.workers.supervisor import Supervisor
from registry_server.workers.worker import DrainingServer, Worker
from storage.drivers.filesystem import empty_trash

# Docker keeps connections and comes back to them between layers.
_KEEP_ALIVE = 75

# Objects made before the collector looks for cycles among them; our own code makes none.
_COLLECT_AFTER = 20_000


@dataclass(frozen=True)
class TlsFactory:
    """Builds a worker's TLS context, in the signature uvicorn calls."""

    settings: Settings

    def __call__(self, config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Build the context; `serve` has seen that it can be built."""
        made = tls.context(self.settings.http.tls)
        return made if made is not None else default()


def serve(settings: Settings, announce: Callable[[Endpoint], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; raise `StartupError` if that can't begin.

    `announce` is called once nothing stands in the way any more, with the address listened on.
    Raises `WorkersFailed` when workers can't be started or kept.
    """
    startup.prepare_root(settings)
    secure = startup.check_tls(settings)
    if not settings.storage.maintenance.readonly.enabled:
        empty_trash(settings.storage.filesystem.rootdirectory)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, _end)
    listener = listening.listen(settings.http.endpoint)
    try:
        _raise_descriptor_limit()
        config = _config(settings, secure=secure)
        announce(listening.bound(listener, settings.http.endpoint))
        _run(config, listener)
    finally:
        listening.remove_socket(settings.http.endpoint)


def _end(*_: object) -> None:
    """End well: before there is anything to drain, and when uvicorn, drained, raises its signal."""
    sys.exit(0)


def _run(config: Config, listener: socket.socket) -> None:
    """Serve in this process if one is enough, else in workers forked from it."""
    if config.workers == 1:
        DrainingServer(config).run(sockets=[listener])
        return
    config.get_loop_factory()  # imports uvloop, which each worker would otherwise do for itself
    _settle_memory()

    def work(channel: socket.socket) -> None:
        Worker(config, channel).run(sockets=[listener])

    Supervisor(work, listener, config.workers).run()


def _build(settings: Settings) -> ASGIApp:
    """Build the application, in the process that serves it."""
    app = build(settings, open_driver(settings))
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


def _config(settings: Settings, *, secure: bool) -> Config:
    return Config(
        partial(_build, settings),
        factory=True,
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
        timeout_graceful_shutdown=math.ceil(settings.http.draintimeout.total_seconds()),
        ssl_context_factory=TlsFactory(settings) if secure else None,
    )
