"""Logs one line when the registry starts to serve and one when it stops.

Test suites, deployment scripts and probes wait for `listening on [::]:5000`, followed by `, tls`
under TLS, as registry:2 and registry:3 write it.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from registry_server import __version__
from registry_server.config import ListenAddress, Settings

logger = logging.getLogger(__name__)


class Announcer:
    """Logs both lines; a reload replaces `settings`."""

    def __init__(
        self, settings: Settings, configuration: Path | None, addresses: Sequence[ListenAddress]
    ) -> None:
        self.settings = settings
        self._configuration = configuration
        self._addresses = addresses

    def opened(self) -> None:
        """Log the addresses, the version, and the main settings."""
        text = " and ".join(map(str, self._addresses))
        if self._speaks_tls:
            text += ", tls"
        logger.info("listening on %s", text, extra=self._facts())

    def stopping(self, received: signal.Signals) -> None:
        """Log the signal, and how long requests in flight may take."""
        seconds = self.settings.http.draintimeout.total_seconds()
        text = "stopping after %s: requests in flight have up to %gs"
        logger.info(text, received.name, seconds)

    @property
    def _speaks_tls(self) -> bool:
        return self.settings.http.tls.certificate is not None

    def _facts(self) -> dict[str, object]:
        storage, workers = self.settings.storage, self.settings.http.workers
        return {
            "version": __version__,
            "configuration": str(self._configuration or "none"),
            "root": str(storage.root or "none, images are in memory"),
            "tls": self._speaks_tls,
            "access": _access_control(self.settings),
            "deletion": storage.delete.enabled,
            "readonly": storage.maintenance.readonly.enabled,
            "workers": workers,
        }


def _access_control(settings: Settings) -> str:
    """Name the configured kinds of access control; `open` if there is none."""
    configured = {
        "htpasswd": settings.auth.htpasswd is not None,
        "token": settings.auth.token is not None,
        "rules": settings.access.configured,
    }
    return "+".join(name for name, is_set in configured.items() if is_set) or "open"
