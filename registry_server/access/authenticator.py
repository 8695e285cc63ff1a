"""Authenticates a request by its password, token or client certificate.

Invalid credentials are always refused, also where anonymous access is allowed: otherwise a mistyped
password would silently turn a user into an anonymous caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from starlette.requests import HTTPConnection

from registry_server.access.challenges import Challenges
from registry_server.access.interfaces import ANONYMOUS, Actor
from registry_server.access.login import Login
from registry_server.access.refusals import TokenInvalid
from registry_server.access.users.basic import parse_basic
from registry_server.config.robot_names import is_robots
from registry_server.http.context import context_of
from registry_server.http.extensions import CERTIFICATE_NAME

if TYPE_CHECKING:
    from registry_server.access.tokens.verifiers import VerifierSource

_FIELD = b"authorization"
# The key of the scope that caches the actor of a request: handlers ask for it several times.
_CACHED_ACTOR = "registry.actor"


# Tells whether the subject of a token still exists, by name and generation.
SubjectExists: TypeAlias = Callable[[str, str], Awaitable[bool]]


async def _accept_all(_: str, generation: str) -> bool:
    return True


class Authenticator(Protocol):
    """Finds the actor of a request."""

    async def actor(self, connection: HTTPConnection) -> Actor:
        """Return the caller; raise `Unauthenticated` for invalid credentials.

        Raises `TooManyRequests` for a client that has sent too many wrong passwords.
        """


class HeaderAuthenticator:
    """Reads the Authorization header (RFC 9110, 11.6.2), which holds a password or a token."""

    def __init__(
        self,
        login: Login,
        verifiers: VerifierSource | None,
        challenges: Challenges,
        *,
        certificates: bool = False,
        subject_exists: SubjectExists = _accept_all,
    ) -> None:
        """Accept passwords through `login`, and tokens if there are `verifiers`.

        With `certificates`, a client without an Authorization header is the user that its
        certificate names. A token is valid only while `subject_exists` accepts its subject.
        """
        self._login = login
        self._verifiers = verifiers
        self._challenges = challenges
        self._certificates = certificates
        self._subject_exists = subject_exists

    async def actor(self, connection: HTTPConnection) -> Actor:
        """Return the caller, and cache it in the scope of the request."""
        cached = connection.scope.get(_CACHED_ACTOR)
        if isinstance(cached, Actor):
            return cached
        actor = await self._read(connection)
        connection.scope[_CACHED_ACTOR] = actor
        context_of(connection.scope).actor = actor.name
        return actor

    async def _read(self, connection: HTTPConnection) -> Actor:
        fields = [value for name, value in connection.scope["headers"] if name == _FIELD]
        if not fields:
            name = connection.scope.get(CERTIFICATE_NAME, "") if self._certificates else ""
            if not name or is_robots(name):
                return ANONYMOUS
            context_of(connection.scope).authentication = "certificate"
            return Actor(name)
        context_of(connection.scope).authentication = "failed"
        if len(fields) > 1:
            raise self._challenges.unauthenticated(
                connection, "the request has more than one Authorization header"
            )
        field = fields[0].decode("latin-1")
        if field[:7].lower() == "bearer " and self._verifiers is not None:
            return await self._by_token(connection, self._verifiers, field[7:].strip(" "))
        return await self._by_password(connection, field)

    async def _by_token(
        self, connection: HTTPConnection, verifiers: VerifierSource, text: str
    ) -> Actor:
        context, verifier = context_of(connection.scope), await verifiers.now()
        try:
            claims = verifier.verify(text)
        except TokenInvalid as error:
            context.authentication = error.outcome
            raise self._challenges.invalid_token(connection, str(error)) from None
        if claims.sub and not await self._subject_exists(claims.sub, claims.generation):
            raise self._challenges.invalid_token(connection, "the token's user no longer exists")
        context.authentication = "token"
        return Actor(name=claims.sub, grants=claims.grants)

    async def _by_password(self, connection: HTTPConnection, field: str) -> Actor:
        credentials = parse_basic(field)
        if credentials is not None:
            actor = await self._login.attempt(connection.scope, *credentials)
            if actor is not None:
                return actor
        raise self._challenges.unauthenticated(connection, "invalid username or password")
