"""Checks names and passwords, for the Authorization header and the token server alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from starlette.types import Scope

from registry_server.access.interfaces import Actor, Credentials
from registry_server.access.login_limits import UNLIMITED, LoginLimits
from registry_server.config.robot_names import is_robots
from registry_server.http.context import context_of
from registry_server.http.too_many_requests import TooManyRequests


class Login:
    """Checks a password against several stores in order, within the limits for wrong ones."""

    def __init__(self, credentials: Sequence[Credentials], limits: LoginLimits = UNLIMITED) -> None:
        self._credentials = tuple(credentials)
        self._limits = limits

    async def attempt(self, scope: Scope, name: str, password: str) -> Actor | None:
        """Return the actor with that name and password, or None if they are wrong.

        The outcome is recorded in the context of the request.
        Raises `TooManyRequests` for a client that has sent too many wrong passwords.
        """
        context = context_of(scope)
        context.authentication = "failed"
        try:
            actor = await self._limits.attempt(scope, partial(self._find, name, password))
        except TooManyRequests:
            context.authentication = "throttled"
            raise
        if actor is not None:
            context.authentication = "robot" if is_robots(actor.name) else "user"
        return actor

    async def _find(self, name: str, password: str) -> Actor | None:
        for credentials in self._credentials:
            actor = await credentials.verify(name, password)
            if actor is not None:
                return actor
        return None
