"""The one place where a name and a password are looked at, wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.types import Scope

from registry_server.auth.access import Actor, Credentials
from registry_server.limits.logins import UNLIMITED, LoginLimits


class Login:
    """Asks several who keep passwords, one after the other, within the limits for guessing."""

    def __init__(self, credentials: Sequence[Credentials], limits: LoginLimits = UNLIMITED) -> None:
        self._credentials = tuple(credentials)
        self._limits = limits

    async def attempt(self, scope: Scope, name: str, password: str) -> Actor | None:
        """Return whom a request's name and password make known, or None.

        Raises `TooManyRequests` for a client that has shown too many wrong ones.
        """
        return await self._limits.attempt(scope, partial(self._find, name, password))

    async def _find(self, name: str, password: str) -> Actor | None:
        for each in self._credentials:
            actor = await each.verify(name, password)
            if actor is not None:
                return actor
        return None
