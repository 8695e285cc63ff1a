"""Checks names and passwords, for the Authorization header and the token server alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.types import Scope

from registry_server.access.interfaces import Actor, Credentials
from registry_server.access.login_limits import UNLIMITED, LoginLimits


class Login:
    """Checks a password against several stores in order, within the limits for wrong ones."""

    def __init__(self, credentials: Sequence[Credentials], limits: LoginLimits = UNLIMITED) -> None:
        self._credentials = tuple(credentials)
        self._limits = limits

    async def attempt(self, scope: Scope, name: str, password: str) -> Actor | None:
        """Return the actor with that name and password, or None if they are wrong.

        Raises `TooManyRequests` for a client that has sent too many wrong passwords.
        """
        return await self._limits.attempt(scope, partial(self._find, name, password))

    async def _find(self, name: str, password: str) -> Actor | None:
        for credentials in self._credentials:
            actor = await credentials.verify(name, password)
            if actor is not None:
                return actor
        return None
