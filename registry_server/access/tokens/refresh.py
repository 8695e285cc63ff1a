"""Refresh tokens: `docker login` may store one instead of the password.

Only the token server accepts them. They have a type and an audience of their own, so a refresh
token never passes for an access token or the reverse. A refresh token is invalid once it expires,
the signing key changes, the user is removed, or the user's password changes.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from registry_server.access.refusals import TokenInvalid
from registry_server.access.tokens.bearer import (
    GENERATION,
    LEEWAY,
    LONGEST,
    Clock,
    ExpectedClaims,
    registered_claims,
    text_of,
    verify_signature,
)
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.signing_keys import SigningKey

TYPE = "refresh"
LIFETIME = 30 * 24 * 3600

# Returns an id of a user's current password, which reveals nothing of it; None for an unknown user.
Generation: TypeAlias = Callable[[str], Awaitable[str | None]]


class RefreshTokens:
    """Issues and verifies refresh tokens."""

    def __init__(
        self,
        key: SigningKey,
        issuer: str,
        service: str,
        generation: Generation,
        *,
        lifetime: int = LIFETIME,
        clock: Clock = time.time,
    ) -> None:
        self._key = key
        self._keys = Keyring.of([key.public])
        self._algorithms = frozenset({key.algorithm})
        self._expected = ExpectedClaims(issuer, f"{service}#{TYPE}", LEEWAY)
        self._generation = generation
        self._lifetime = lifetime
        self._clock = clock

    async def issue(self, name: str) -> str | None:
        """Return a token for a user who has just logged in.

        Returns None if the user does not exist, or has a name that is too long for a token.
        """
        generation = await self._generation(name)
        if not name or generation is None:
            return None
        now, expected = int(self._clock()), self._expected
        claims = registered_claims(expected.issuer, name, expected.audience, now, self._lifetime)
        text = self._key.sign({**claims, GENERATION: generation}, TYPE)
        return text if len(text) <= LONGEST else None

    async def verify(self, text: str) -> str:
        """Return the user of a token, or raise `TokenInvalid`."""
        now = self._clock()
        payload = verify_signature(text, self._keys, (TYPE,), self._algorithms, now)
        self._expected.check(payload, now)
        name, claimed = text_of(payload, "sub"), text_of(payload, GENERATION)
        generation = await self._generation(name)
        if not name or generation is None or not _equal(generation, claimed):
            raise TokenInvalid("the user no longer exists, or the password has changed")
        return name


def _equal(first: str, second: str) -> bool:
    # A claim may hold half a surrogate pair, which has no bytes in UTF-8.
    return hmac.compare_digest(
        first.encode(errors="backslashreplace"), second.encode(errors="backslashreplace")
    )
