"""A short memory of passwords that were right, for clients that show theirs with each request.

bcrypt is slow on purpose, and a push is dozens of requests. What is remembered is good for
nothing but comparing: a MAC whose key never leaves this process, over the name, the password and
the hash it matched. So an entry that has changed in the file is never answered from memory.
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
    """A check that is going on, and how many wait for it."""

    task: asyncio.Task[bool]
    waiting: int = 0


class RememberedPasswords:
    """Knows for a while who has shown the right password; wrong ones leave no trace."""

    def __init__(
        self,
        seconds: float = _SECONDS,
        most: int = _MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember up to `most` names, the latest ones, each for `seconds` after its check."""
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._known: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._flights: dict[bytes, _Flight] = {}

    async def verified(self, name: str, password: bytes, hash: bytes, check: Check) -> bool:
        """Tell whether the password is right: from memory, or else by `check`.

        Those who ask the same at the same time share one check. It is cancelled when the last of
        them is.
        """
        mac = self._mac(name, password, hash)
        if self._knows(name, mac):
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
                # Forgotten first: who asks from now on must not join what is being cancelled.
                if self._flights.get(mac) is flight:
                    del self._flights[mac]
                flight.task.cancel()

    async def _check(self, name: str, mac: bytes, check: Check) -> bool:
        is_right = await check()
        if is_right:
            self._known[name] = mac, self._clock() + self._seconds
            self._known.move_to_end(name)
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return is_right

    def _knows(self, name: str, mac: bytes) -> bool:
        known, until = self._known.get(name, (b"", 0.0))
        if not hmac.compare_digest(known, mac):
            return False
        if self._clock() >= until:
            del self._known[name]
            return False
        self._known.move_to_end(name)
        return True

    def _mac(self, name: str, password: bytes, hash: bytes) -> bytes:
        # With their lengths, so that no other three parts make the same message.
        parts = (name.encode("utf-8"), password, hash)
        message = b"".join(len(part).to_bytes(_LENGTH_BYTES, "big") + part for part in parts)
        return hmac.digest(self._key, message, "sha256")
