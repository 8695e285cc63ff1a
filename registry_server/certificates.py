"""The files of `http.tls`, watched: who renews a certificate replaces files and sends no signal.

certbot and cert-manager exchange links, one after the other or all at once; others write over
what is there. So what has changed is used once it was left alone from one look to the next: half of
a renewal is not complained of, and no write falls into the same tick of the clock as the look.

A context is always built anew. OpenSSL would let a certificate be exchanged in the one that is in
use, but not a key that does not fit it, nor in one step; and sessions go on in a new context only
if they were begun in it, so nobody comes back to one that an authority vouched for who is gone.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from uvicorn import Config

from registry_server import tls
from registry_server.auth.watched import State, state_of
from registry_server.config.schema import Tls

logger = logging.getLogger(__name__)

_States: TypeAlias = tuple[State | None, ...]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What connections are to be opened with from now on.

    Unless `is_believed_the_same`, what clients proved before may hold no longer.
    """

    context: ssl.SSLContext
    is_believed_the_same: bool


@dataclass(frozen=True, slots=True)
class _Found:
    """The files as a look found them; None for one that is not there."""

    ours: _States
    authorities: _States


class Certificates:
    """The contexts that the files of `http.tls` give, first one and then others."""

    def __init__(self, settings: Tls) -> None:
        """Watch the files that `settings` names."""
        self._settings = settings
        self._complaint = ""
        self._used = self._seen = _Found((), ())

    def __call__(self, config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Build the first context, in the signature uvicorn calls (blocks)."""
        return self.first()

    def first(self) -> ssl.SSLContext:
        """Build a context from the files as they are; raise `TlsError` (blocks)."""
        self._used = self._seen = self._look()
        return self._context()

    def renewed(self) -> Renewal | None:
        """Look; return what follows if there is something new that can be used (blocks).

        What can't be is tried again at each look, and the log says why once.
        """
        before, self._seen = self._seen, self._look()
        if self._seen == self._used or self._seen != before:
            return None
        try:
            made = self._context()
        except tls.TlsError as error:
            self._complain(str(error))
            return None
        is_believed_the_same = self._seen.authorities == self._used.authorities
        self._used, self._complaint = self._seen, ""
        logger.info("%s was read anew", self._settings.certificate)
        for warning in tls.warnings(self._settings):
            logger.warning(warning)
        return Renewal(made, is_believed_the_same)

    def _context(self) -> ssl.SSLContext:
        made = tls.context(self._settings)
        assert made is not None, "TLS is not configured"
        return made

    def _look(self) -> _Found:
        ours = (self._settings.certificate, self._settings.key)
        authorities = self._settings.clientcas
        return _Found(
            tuple(_state(path) for path in ours if path is not None),
            tuple(_state(path) for path in authorities),
        )

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            logger.error("TLS files can't be used, the old ones stay in use: %s", reason)


def _state(path: Path) -> State | None:
    """Return what tells one state of a file, or of what a link leads to, from another."""
    try:
        return state_of(path)
    except OSError:
        return None
