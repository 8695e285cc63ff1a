"""The line of the log that says the registry serves, and the one that says it stops.

Test suites, deployment scripts and probes wait for the words `listening on [::]:5000`, and for
`, tls` behind them, which registry:2 and registry:3 write.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from registry_server import __version__
from registry_server.config import Endpoint, Settings

logger = logging.getLogger(__name__)


class Announcer:
    """Writes both lines; `settings` are those in force, which a reload replaces."""

    def __init__(
        self, settings: Settings, configuration: Path | None, addresses: Sequence[Endpoint]
    ) -> None:
        self.settings = settings
        self._configuration = configuration
        self._addresses = addresses

    def opened(self) -> None:
        """Log what is served, where, and by which configuration."""
        text = " and ".join(map(str, self._addresses))
        if self._speaks_tls:
            text += ", tls"
        logger.info("listening on %s", text, extra=self._facts())

    def stopping(self, received: signal.Signals) -> None:
        """Log why the service ends, and how long requests in flight may take."""
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
    """Name what decides about access; `open` when every request is allowed."""
    configured = {
        "htpasswd": settings.auth.htpasswd is not None,
        "token": settings.auth.token is not None,
        "rules": settings.access.configured,
    }
    return "+".join(name for name, is_set in configured.items() if is_set) or "open"
