"""Watches the files of `http.tls`: tools that renew a certificate replace files and send no signal.

certbot and cert-manager exchange symbolic links, one by one or together; other tools overwrite the
files. So changed files are used once they are the same in two consecutive checks. This avoids an
error about a renewal in progress, and a write in the same clock tick as a check.

Every change builds a new context. OpenSSL can replace the certificate of a context in use, but not
together with its key in one step. A session can only be resumed in the context that created it, so
clients whose certificate authority was removed can't resume theirs.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from uvicorn import Config

from registry_server.config.schema import Tls
from registry_server.files.watched_file import State, state_of
from registry_server.serving.tls import ssl_context

logger = logging.getLogger(__name__)

_States: TypeAlias = tuple[State | None, ...]


@dataclass(frozen=True, slots=True)
class NewContext:
    """The context for new connections.

    `are_authorities_unchanged` says that the authorities for client certificates did not change, so
    existing connections may continue.
    """

    context: ssl.SSLContext
    are_authorities_unchanged: bool


@dataclass(frozen=True, slots=True)
class _FileStates:
    """The states of the files at one check; None for a missing file."""

    ours: _States
    authorities: _States


class Certificates:
    """Builds a context from the files of `http.tls`, and a new one whenever they change."""

    def __init__(self, settings: Tls) -> None:
        """Watch the files that `settings` names."""
        self._settings = settings
        self._logged_problem = ""
        self._used = self._seen = _FileStates((), ())

    def __call__(self, config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Build the first context; this is the signature that uvicorn calls (blocks)."""
        return self.first()

    def first(self) -> ssl.SSLContext:
        """Build a context from the current files; raise `TlsError` (blocks)."""
        self._used = self._seen = self._file_states()
        return self._context()

    def changed(self) -> NewContext | None:
        """Check the files; return a new context if they changed and can be used (blocks).

        Files that can't be used are tried again at every check; the reason is logged once.
        """
        before, self._seen = self._seen, self._file_states()
        if self._seen == self._used or self._seen != before:
            return None
        try:
            fresh = self._context()
        except ssl_context.TlsError as error:
            self._log_problem(str(error))
            return None
        are_authorities_unchanged = self._seen.authorities == self._used.authorities
        self._used, self._logged_problem = self._seen, ""
        logger.info("TLS certificate reloaded: %s", self._settings.certificate)
        for warning in ssl_context.warnings(self._settings):
            logger.warning(warning)
        return NewContext(fresh, are_authorities_unchanged)

    def _context(self) -> ssl.SSLContext:
        made = ssl_context.context(self._settings)
        assert made is not None, "TLS is not configured"
        return made

    def _file_states(self) -> _FileStates:
        ours = (self._settings.certificate, self._settings.key)
        authorities = self._settings.clientcas
        return _FileStates(
            tuple(_state(path) for path in ours if path is not None),
            tuple(_state(path) for path in authorities),
        )

    def _log_problem(self, reason: str) -> None:
        if reason != self._logged_problem:
            self._logged_problem = reason
            logger.error("TLS files can't be used, the old ones stay in use: %s", reason)


def _state(path: Path) -> State | None:
    """Return the state of a file, following symbolic links; None if it is missing."""
    try:
        return state_of(path)
    except OSError:
        return None
