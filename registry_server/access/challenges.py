"""Challenges: the WWW-Authenticate header of a 401.

Docker sends no credentials unless `/v2/` challenges it, and pulls anonymously only if a token
server gives it an anonymous token. So a registry with rules has its own token server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import HTTPConnection

from registry_server.access.interfaces import Action
from registry_server.access.refusals import Unauthenticated
from storage.values.names import RepositoryName

CATALOG_SCOPE = "registry:catalog:*"
ADMINISTRATION_SCOPE = "registry:administration:*"


class Challenges(Protocol):
    """Makes the exceptions that ask a client for credentials."""

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        """Return the refusal of a request without credentials, or with invalid ones.

        The challenge asks for `scope`, if the scheme has scopes.
        """

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        """Return the refusal of a token that is invalid or has expired."""


@dataclass(frozen=True, slots=True)
class BasicChallenges:
    """Asks for a name and a password (RFC 7617)."""

    realm: str

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        return Unauthenticated(message, f"Basic realm={quoted(self.realm)}")

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        return self.unauthenticated(connection, message)


@dataclass(frozen=True, slots=True)
class BearerChallenges:
    """Asks for a token and names the token server (Docker's token protocol).

    `realm` returns the absolute URL of the token server, as this client reaches it.
    """

    realm: Callable[[HTTPConnection], str]
    service: str

    def unauthenticated(
        self, connection: HTTPConnection, message: str, scope: str = ""
    ) -> Unauthenticated:
        error = "insufficient_scope" if _has_bearer_token(connection) else ""
        return self._refusal(connection, message, scope, error)

    def invalid_token(self, connection: HTTPConnection, message: str) -> Unauthenticated:
        return self._refusal(connection, message, "", "invalid_token")

    def _refusal(
        self, connection: HTTPConnection, message: str, scope: str, error: str
    ) -> Unauthenticated:
        parts = [("realm", self.realm(connection)), ("service", self.service)]
        parts += [(name, value) for name, value in (("scope", scope), ("error", error)) if value]
        parameters = ",".join(f"{name}={quoted(value)}" for name, value in parts)
        return Unauthenticated(message, f"Bearer {parameters}")


def scope_of(name: RepositoryName, actions: Iterable[Action]) -> str:
    """Return `actions` in the token scope grammar, which has no word for OVERWRITE."""
    words = [action.value for action in actions if action is not Action.OVERWRITE]
    return f"repository:{name}:{','.join(words)}"


def quoted(text: str) -> str:
    """Return `text` as a quoted-string (RFC 9110, 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _has_bearer_token(connection: HTTPConnection) -> bool:
    fields = connection.scope["headers"]
    return any(
        name == b"authorization" and value[:7].lower() == b"bearer " for name, value in fields
    )
