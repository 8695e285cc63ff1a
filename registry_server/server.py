"""Running: find out what could go wrong first, then serve with one process or several."""

from __future__ import annotations

import contextlib
import gc
import math
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from registry_server import listening, logs, startup, tls
from registry_server.config import Endpoint, Settings
from registry_server.protocol import RegistryProtocol
from storage.drivers.filesystem import empty_trash

# Docker keeps connections and comes back to them between layers.
_KEEP_ALIVE = 75

# Seconds; a worker notices a signal ten times a second.
_GIVE_WAY = 0.3


@dataclass(frozen=True)
class AppFactory:
    """Builds the application in a worker; travels there as settings, not as objects."""

    settings: Settings

    def __call__(self) -> ASGIApp:
        """Build the application."""
        from registry_server.app import build, open_driver

        logs.configure(self.settings.log)
        app = build(self.settings, open_driver(self.settings))
        _settle_memory()
        return app


# Objects made before the collector looks for cycles among them; our own code makes none.
_COLLECT_AFTER = 20_000


class Supervisor(Multiprocess):
    """uvicorn's, which keeps the listening socket open while its workers drain.

    The kernel would go on taking connections that nobody accepts: a client hangs until the drain
    ends. Refused, it tries the next server at once.
    """

    def terminate_all(self) -> None:
        """Have the workers drain, and stop listening once they had time to do so themselves."""
        super().terminate_all()
        time.sleep(_GIVE_WAY)
        for listener in self.sockets:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _settle_memory() -> None:
    """Spare the collector what was made to stay: it went over all of it while answering.

    Listing 10,000 tags took a quarter less time afterwards.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


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
    """
    startup.prepare_root(settings)
    secure = startup.check_tls(settings)
    if not settings.storage.maintenance.readonly.enabled:
        empty_trash(settings.storage.filesystem.rootdirectory)
    listener = listening.listen(settings.http.endpoint)
    _raise_descriptor_limit()
    config = _config(settings, secure=secure)
    announce(listening.bound(listener, settings.http.endpoint))
    # uvicorn ends by raising the signal that stopped it; a drained server has ended well.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    if settings.http.workers == 1:
        Server(config).run(sockets=[listener])
    else:
        Supervisor(config, sockets=[listener]).run()
    listening.remove_socket(settings.http.endpoint)


def _raise_descriptor_limit() -> None:
    """Take all the descriptors the system grants: each download and each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _config(settings: Settings, *, secure: bool) -> Config:
    return Config(
        AppFactory(settings),
        factory=True,
        http=RegistryProtocol,
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
