"""Refusals of access control and of the token server.

AccessRefused
├── Unauthenticated    missing or invalid credentials; has the challenges
│   └── LoginRefused   the same at the token server
├── Denied             authenticated, but not allowed
└── TokenRequestInvalid, TokenRequestTooLarge
"""

from __future__ import annotations

from typing import ClassVar, Final

from registry_server.http.context import Authentication
from registry_server.http.refusals import Refusal

# Caches must store neither tokens nor refusals of them (RFC 6749, 5.1).
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class AccessRefused(Refusal):
    """Base of all refusals."""


class Unauthenticated(AccessRefused):
    """Credentials are needed; `challenges` are values of WWW-Authenticate (RFC 9110, 11.6.1)."""

    status = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str, *challenges: str) -> None:
        super().__init__(message)
        self.challenges = challenges
        self.headers = {"WWW-Authenticate": ", ".join(challenges)}


class LoginRefused(Unauthenticated):
    """The token server does not accept the credentials."""

    def __init__(self, message: str, *challenges: str) -> None:
        super().__init__(message, *challenges)
        self.headers = {**NO_STORE, **self.headers}


class Denied(AccessRefused):
    """The caller is authenticated and may not do this."""

    status = 403
    code = "DENIED"


class TokenRequestInvalid(AccessRefused):
    """A request to the token server is malformed, or asks for something it does not have."""

    status = 400
    code = "UNSUPPORTED"
    headers = NO_STORE


class TokenRequestTooLarge(AccessRefused):
    """A query or a form of the token server exceeds `limit` bytes."""

    status = 413
    code = "SIZE_INVALID"
    headers = NO_STORE

    def __init__(self, limit: int) -> None:
        super().__init__(f"a query or a form has at most {limit} bytes")


class TokenInvalid(Exception):
    """A token is not accepted; the message says why, and never quotes the token."""

    outcome: ClassVar[Authentication] = "failed"


class TokenExpired(TokenInvalid):
    """The token was valid until some time ago."""

    outcome = "expired"

    def __init__(self) -> None:
        super().__init__("the token has expired")
