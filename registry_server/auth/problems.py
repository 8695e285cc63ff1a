"""Refusals: who is asked for credentials, and who has them and may not.

AccessRefused
├── Unauthenticated    no credentials, or none that hold; says how to show some
└── Denied             known, and not allowed
"""

from __future__ import annotations


class AccessRefused(Exception):
    """Base of both."""


class Unauthenticated(AccessRefused):
    """Credentials are needed; `challenges` are values of WWW-Authenticate (RFC 9110, 11.6.1)."""

    def __init__(self, message: str, *challenges: str) -> None:
        super().__init__(message)
        self.challenges = challenges


class TokenInvalid(Exception):
    """A token is not accepted; the message says why, and shows nothing of the token."""


class Denied(AccessRefused):
    """The caller is known, and may not do this."""
