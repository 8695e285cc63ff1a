"""Refresh tokens: a login that `docker login` may keep instead of the password.

One is a token that only the token server takes: of a type and for an audience of its own, so that
neither kind ever passes for the other. It ends with its time, with the signing key, with the user,
and with the user's password.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from registry_server.auth.keyring import Keyring
from registry_server.auth.keys import SigningKey
from registry_server.auth.problems import TokenInvalid
from registry_server.auth.tokens import (
    GENERATION,
    LEEWAY,
    LONGEST,
    Clock,
    Expected,
    open_token,
    registered,
    text_of,
)

TYPE = "refresh"
LIFETIME = 30 * 24 * 3600

# Tells one password of a user from the next: a short keyed digest of what is stored of it, which
# says nothing of the password. None if there is no such user.
Generation: TypeAlias = Callable[[str], Awaitable[str | None]]


class RefreshTokens:
    """Issues and takes refresh tokens."""

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
        self._expected = Expected(issuer, f"{service}#{TYPE}", LEEWAY)
        self._generation = generation
        self._lifetime = lifetime
        self._clock = clock

    async def issue(self, name: str) -> str | None:
        """Return a token for a user who has just logged in; None if there is no such user.

        None as well for one whose name is too long for a token.
        """
        generation = await self._generation(name)
        if not name or generation is None:
            return None
        now, expected = int(self._clock()), self._expected
        claims = registered(expected.issuer, name, expected.audience, now, self._lifetime)
        text = self._key.sign({**claims, GENERATION: generation}, TYPE)
        return text if len(text) <= LONGEST else None

    async def verify(self, text: str) -> str:
        """Return whose token this is, or raise `TokenInvalid`."""
        now = self._clock()
        payload = open_token(text, self._keys, (TYPE,), self._algorithms, now)
        self._expected.check(payload, now)
        name, shown = text_of(payload, "sub"), text_of(payload, GENERATION)
        generation = await self._generation(name)
        if not name or generation is None or not _equal(generation, shown):
            raise TokenInvalid("the user is gone, or has another password now")
        return name


def _equal(first: str, second: str) -> bool:
    # A claim may hold half a surrogate pair, which has no bytes in UTF-8.
    one, other = first.encode(errors="backslashreplace"), second.encode(errors="backslashreplace")
    return hmac.compare_digest(one, other)
