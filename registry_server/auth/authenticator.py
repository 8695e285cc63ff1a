"""From what a request shows to who asks: a password, a token, or nothing.

What is shown has to hold: a wrong password is refused also where nobody needs one, so that a typing
mistake does not pass for anonymity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from starlette.requests import HTTPConnection

from registry_server.audit import notes_of
from registry_server.auth.access import NOBODY, Actor, Credentials
from registry_server.auth.basic import parse_basic
from registry_server.auth.challenges import Challenges
from registry_server.auth.tokens import TokenInvalid, TokenVerifier
from registry_server.http1.peers import CERTIFIED

_FIELD = b"authorization"
# Where the answer of one request is kept: several questions are asked of each.
_KNOWN = "registry.actor"


class Authenticator(Protocol):
    """Tells who asks."""

    async def actor(self, connection: HTTPConnection) -> Actor:
        """Return who asks; raise `Unauthenticated` for credentials that do not hold."""


class HeaderAuthenticator:
    """Reads the Authorization header (RFC 9110, 11.6.2), which holds a password or a token."""

    def __init__(
        self,
        credentials: Sequence[Credentials],
        verifier: TokenVerifier | None,
        challenges: Challenges,
        *,
        certificates: bool = False,
    ) -> None:
        """Take `credentials`, tokens if there is a `verifier`, and `certificates` of clients.

        A client that shows nothing else is then whom its certificate names.
        """
        self._credentials = credentials
        self._verifier = verifier
        self._challenges = challenges
        self._certificates = certificates

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
            name = connection.scope.get(CERTIFIED) if self._certificates else ""
            return Actor(name) if name else NOBODY
        if len(shown) > 1:
            raise self._challenges.unauthenticated(connection, "one Authorization header at most")
        field = shown[0].decode("latin-1")
        if field[:7].lower() == "bearer " and self._verifier is not None:
            return self._of_token(connection, self._verifier, field[7:].strip())
        return await self._of_password(connection, field)

    def _of_token(self, connection: HTTPConnection, verifier: TokenVerifier, text: str) -> Actor:
        try:
            claims = verifier.verify(text)
        except TokenInvalid as error:
            raise self._challenges.invalid_token(connection, str(error)) from None
        return Actor(name=claims.sub, grants=claims.grants)

    async def _of_password(self, connection: HTTPConnection, field: str) -> Actor:
        shown = parse_basic(field)
        if shown is not None:
            for each in self._credentials:
                actor = await each.verify(*shown)
                if actor is not None:
                    return actor
        raise self._challenges.unauthenticated(connection, "these credentials do not hold")
