"""Running: find out what could go wrong first, then serve with one process or several.

Whatever an operator can get wrong (a root that can't be written, a port in use, a certificate
that does not fit) is a `StartupError` with one clear line, before any worker exists.
"""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import ssl
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.supervisors import Multiprocess

from registry_server import logs, tls
from registry_server.config import Endpoint, Settings
from registry_server.config.load import TRIAL_ROOT
from registry_server.protocol import RegistryProtocol
from storage.drivers.filesystem import empty_trash

_BACKLOG = 2048
# Docker keeps connections and comes back to them between layers.
_KEEP_ALIVE = 75

# Seconds; a worker notices a signal ten times a second.
_GIVE_WAY = 0.3


class StartupError(Exception):
    """The registry can't start; the message says why in one line."""


@dataclass(frozen=True)
class AppFactory:
    """Builds the application in a worker; travels there as settings, not as objects."""

    settings: Settings

    def __call__(self) -> ASGIApp:
        """Build the application."""
        from registry_server.app import build, open_driver

        logs.configure(self.settings.log)
        return build(self.settings, open_driver(self.settings))


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
    prepare_root(settings)
    secure = _check_tls(settings)
    if not settings.storage.maintenance.readonly.enabled:
        empty_trash(settings.storage.filesystem.rootdirectory)
    listener = listen(settings.http.endpoint)
    config = _config(settings, secure=secure)
    announce(_bound(listener, settings.http.endpoint))
    # uvicorn ends by raising the signal that stopped it; a drained server has ended well.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    if settings.http.workers == 1:
        Server(config).run(sockets=[listener])
    else:
        Supervisor(config, sockets=[listener]).run()
    _remove_socket(settings.http.endpoint)


def check(settings: Settings) -> None:
    """Find what would keep `serve` from starting; raise `StartupError`."""
    prepare_root(settings)
    _check_tls(settings)


def prepare_root(settings: Settings) -> None:
    """Make sure that the root folder is there and can be written; raise `StartupError`.

    Only the folder of a trial run is made. A configured root that is missing is a typing error or
    a volume that was not mounted, and an empty registry in its place would look like a loss.
    """
    root = settings.storage.filesystem.rootdirectory
    try:
        if root == TRIAL_ROOT:
            root.mkdir(exist_ok=True)
        if not root.is_dir():
            raise StartupError(f"the root directory {root} does not exist; create it or mount it")
        if not settings.storage.maintenance.readonly.enabled:
            with tempfile.TemporaryFile(dir=root):
                pass
    except OSError as error:
        raise StartupError(f"the root directory {root} can't be used: {error.strerror}") from None


def listen(endpoint: Endpoint) -> socket.socket:
    """Bind the address, for all workers to accept on; raise `StartupError`."""
    try:
        if endpoint.path is not None:
            return _listen_unix(endpoint.path)
        return _listen_tcp(endpoint.host, endpoint.port)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StartupError(f"the address {endpoint} can't be listened on: {reason}") from None


def _bound(listener: socket.socket, asked: Endpoint) -> Endpoint:
    """Return the address with the port the system chose, where it was asked to choose one."""
    return asked if asked.path is not None else replace(asked, port=listener.getsockname()[1])


def _listen_tcp(host: str, port: int) -> socket.socket:
    if not host:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=both, backlog=_BACKLOG
        )
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


def _listen_unix(path: Path) -> socket.socket:
    _remove_stale_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(_BACKLOG)
    return listener


def _remove_stale_socket(path: Path) -> None:
    """Remove a socket nobody listens on any more; one in use fails in bind, as a port would."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _remove_socket(endpoint: Endpoint) -> None:
    if endpoint.path is not None:
        endpoint.path.unlink(missing_ok=True)


def _check_tls(settings: Settings) -> bool:
    try:
        return tls.context(settings.http.tls) is not None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise StartupError(f"the TLS certificate can't be used: {reason}") from None


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
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.http.draintimeout.total_seconds()),
        ssl_context_factory=TlsFactory(settings) if secure else None,
    )
