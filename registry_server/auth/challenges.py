"""How a client is asked for credentials: the WWW-Authenticate header of a 401.

Docker shows nothing unless `/v2/` asks for it, and pulls anonymously only where it can get a token
for nobody: so a registry with rules asks for tokens, which its own token server gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection

from registry_server.auth.access import Action
from registry_server.auth.problems import Unauthenticated
from storage.names import RepositoryName

CATALOG_SCOPE = "registry:catalog:*"
ADMINISTRATION_SCOPE = "registry:administration:*"


class Challenges(Protocol):
    """Makes the refusals that ask for credentials."""

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        """Make the refusal of a request that shows none, or none that hold."""

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        """Make the refusal of a token that does not hold (any more)."""


@dataclass(frozen=True, slots=True)
class BasicChallenges:
    """Asks for a name and a password (RFC 7617)."""

    realm: str

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        """Ask for a name and a password, whatever for."""
        return Unauthenticated(message, f"Basic realm={quoted(self.realm)}")

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        """Ask for a name and a password."""
        return self.unauthenticated(connection, message)


@dataclass(frozen=True, slots=True)
class BearerChallenges:
    """Asks for a token, and says where to get one (the Docker token protocol).

    `realm` returns the absolute URL of the token server, as this client reaches it.
    """

    realm: Callable[[HTTPConnection], str]
    service: str

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        """Ask for a token for `scope`."""
        error = "insufficient_scope" if _shows_token(connection) else ""
        return self._refusal(connection, message, scope, error)

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        """Ask for another token."""
        return self._refusal(connection, message, "", "invalid_token")

    def _refusal(
        self, connection: HTTPConnection, message: str, scope: str, error: str
    ) -> Unauthenticated:
        parts = [("realm", self.realm(connection)), ("service", self.service)]
        parts += [(name, value) for name, value in (("scope", scope), ("error", error)) if value]
        listed = ",".join(f"{name}={quoted(value)}" for name, value in parts)
        return Unauthenticated(message, f"Bearer {listed}")


def scope_of(name: RepositoryName, actions: Iterable[Action]) -> str:
    """Write what is wanted in the token scope grammar, for the words that grammar has."""
    words = [action.value for action in actions if action is not Action.OVERWRITE]
    return f"repository:{name}:{','.join(words)}"


def quoted(text: str) -> str:
    """Write a quoted-string (RFC 9110, 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _shows_token(connection: HTTPConnection) -> bool:
    fields = connection.scope["headers"]
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in fields
    )
