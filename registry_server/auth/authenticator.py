"""From what a request shows to who asks: a password, a token, or nothing.

What is shown has to hold: a wrong password is refused also where nobody needs one, so that a typing
mistake does not pass for anonymity.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from starlette.requests import HTTPConnection

from registry_server.audit import notes_of
from registry_server.auth.access import ANONYMOUS, Actor
from registry_server.auth.basic import parse_basic
from registry_server.auth.challenges import Challenges
from registry_server.auth.login import Login
from registry_server.auth.problems import TokenInvalid
from registry_server.auth.robot_names import is_robots
from registry_server.http1.peers import CERTIFIED

if TYPE_CHECKING:
    from registry_server.auth.verifiers import Verifiers

_FIELD = b"authorization"
# Where the answer of one request is kept: several questions are asked of each.
_KNOWN = "registry.actor"


# Tells whether the bearer of a token is still there, by name and generation.
Known: TypeAlias = Callable[[str, str], Awaitable[bool]]


async def _anybody(_: str, generation: str) -> bool:
    return True


class Authenticator(Protocol):
    """Tells who asks."""

    async def actor(self, connection: HTTPConnection) -> Actor:
        """Return who asks; raise `Unauthenticated` for credentials that do not hold.

        Where too many did not, it is `TooManyRequests`.
        """


class HeaderAuthenticator:
    """Reads the Authorization header (RFC 9110, 11.6.2), which holds a password or a token."""

    def __init__(
        self,
        login: Login,
        verifiers: Verifiers | None,
        challenges: Challenges,
        *,
        certificates: bool = False,
        is_known: Known = _anybody,
    ) -> None:
        """Take passwords by `login`, tokens if there are `verifiers`, and `certificates`.

        A client that shows nothing else is then whom its certificate names. A token holds while
        `is_known` says so of its bearer.
        """
        self._login = login
        self._verifiers = verifiers
        self._challenges = challenges
        self._certificates = certificates
        self._is_known = is_known

    async def actor(self, connection: HTTPConnection) -> Actor:
        """Return who asks, and remember it for the rest of the request."""
        known = connection.scope.get(_KNOWN)
        if isinstance(known, Actor):
            return known
        actor = await self._read(connection)
        connection.scope[_KNOWN] = actor
        notes_of(connection.scope).met(actor)
        return actor

    async def _read(self, connection: HTTPConnection) -> Actor:
        shown = [value for name, value in connection.scope["headers"] if name == _FIELD]
        if not shown:
            name = connection.scope.get(CERTIFIED, "") if self._certificates else ""
            return Actor(name) if name and not is_robots(name) else ANONYMOUS
        if len(shown) > 1:
            raise self._challenges.unauthenticated(connection, "one Authorization header at most")
        field = shown[0].decode("latin-1")
        if field[:7].lower() == "bearer " and self._verifiers is not None:
            return await self._of_token(connection, self._verifiers, field[7:].strip(" "))
        return await self._of_password(connection, field)

    async def _of_token(self, connection: HTTPConnection, verifiers: Verifiers, text: str) -> Actor:
        verifier = await verifiers.now()
        try:
            claims = verifier.verify(text)
        except TokenInvalid as error:
            raise self._challenges.invalid_token(connection, str(error)) from None
        if claims.sub and not await self._is_known(claims.sub, claims.generation):
            raise self._challenges.invalid_token(connection, "it is of somebody who is gone")
        return Actor(name=claims.sub, grants=claims.grants)

    async def _of_password(self, connection: HTTPConnection, field: str) -> Actor:
        shown = parse_basic(field)
        if shown is not None:
            actor = await self._login.attempt(connection.scope, *shown)
            if actor is not None:
                return actor
        raise self._challenges.unauthenticated(connection, "these credentials do not hold")
