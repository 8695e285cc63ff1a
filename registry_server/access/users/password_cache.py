"""A cache of correct passwords, for clients that send a password with every request.

bcrypt is slow by design, and a push takes dozens of requests. A cache entry is a MAC over the name,
the password and the matched hash, with a key that never leaves this process. So it reveals no
password, and it no longer matches once the hash in the file has changed.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

Check: TypeAlias = Callable[[], Awaitable[bool]]

_SECONDS = 60.0
_MOST = 1024
_KEY_BYTES = 32
_LENGTH_BYTES = 8


@dataclass(slots=True)
class _Flight:
    """A running check, and the number of callers that wait for it."""

    task: asyncio.Task[bool]
    waiting: int = 0


class PasswordCache:
    """Caches successful password checks for a while; failed ones are not cached."""

    def __init__(
        self,
        seconds: float = _SECONDS,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Cache the `most` names that were used last, each for `seconds` after its check."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._checked: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}

    async def verified(self, name: str, password: bytes, hash: bytes, check: Check) -> bool:
        """Return whether the password is right: from the cache, or else by calling `check`.

        Concurrent calls with the same arguments share one check, which is cancelled when the last
        of them is.
        """
        mac = self._mac(name, password, hash)
        if self._is_cached(name, mac):
            return True
        flight = self._flights.get(mac)
        if flight is None:
            flight = _Flight(asyncio.create_task(self._check(name, mac, check)))
            self._flights[mac] = flight
        return await self._wait(mac, flight)

    async def _wait(self, mac: bytes, flight: _Flight) -> bool:
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                # Removed first: later calls must not join a check that is being cancelled.
                if self._flights.get(mac) is flight:
                    del self._flights[mac]
                flight.task.cancel()

    async def _check(self, name: str, mac: bytes, check: Check) -> bool:
        is_right = await check()
        if is_right:
            self._checked[name] = mac, self._clock() + self._seconds
            self._checked.move_to_end(name)
            while len(self._checked) > self._most:
                self._checked.popitem(last=False)
        return is_right

    def _is_cached(self, name: str, mac: bytes) -> bool:
        cached_mac, expires = self._checked.get(name, (b"", 0.0))
        if not hmac.compare_digest(cached_mac, mac):
            return False
        if self._clock() >= expires:
            del self._checked[name]
            return False
        self._checked.move_to_end(name)
        return True

    def _mac(self, name: str, password: bytes, hash: bytes) -> bytes:
        # Lengths make the message unambiguous.
        parts = (name.encode("utf-8"), password, hash)
        message = b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)
        return hmac.digest(self._key, message, "sha256")
