"""Refusals of access control.

AccessRefused
├── Unauthenticated    missing or invalid credentials; has the challenges
└── Denied             authenticated, but not allowed
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
    """A token is not accepted; the message says why, and never quotes the token."""


class Denied(AccessRefused):
    """The caller is authenticated and may not do this."""
