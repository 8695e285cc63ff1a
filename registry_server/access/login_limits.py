"""Limits the wrong passwords of a client address.

Over the limit, correct passwords are refused as well: a client that guesses must not learn which
one was right. A correct password does not reset the count, because the owner of one account could
otherwise keep guessing the password of another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.types import Scope

from registry_server.http.clients import client_address, limit_key
from registry_server.http.too_many_requests import TooManyRequests, whole_seconds

T = TypeVar("T")

_WINDOW = 300.0
_MOST = 4096  # addresses
# Passwords of one address that are checked concurrently. Without this limit all concurrent requests
# would be checked, because none of them has failed yet.
_CONCURRENT = 4

logger = logging.getLogger(__name__)


class LoginLimits:
    """Allows an address `failures` wrong passwords within `window` seconds; 0 means no limit.

    The `most` addresses that failed last are kept. A client without an address has no limit.
    """

    def __init__(
        self,
        failures: int = 0,
        window: float = _WINDOW,
        address: Callable[[Scope], str] = client_address,
        *,
        most: int = _MOST,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._limit = failures
        self._window = int(window * 10**9)
        self._address = address
        self._most = most
        self._clock = clock
        # The times of the latest wrong passwords, the oldest first.
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()
        self._places = _Places()

    async def attempt(self, scope: Scope, verify: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return the result of `verify`, which checks a password; count a None as a wrong one.

        Raises `TooManyRequests` for an address over the limit. Checks that run already are
        completed, so the limit may be exceeded by three.
        """
        address = self._address(scope) if self._limit else ""
        if not address:
            return await verify()
        self.check(address)
        async with self._places.through(limit_key(address)):
            self.check(address)
            verified = await verify()
            if verified is None:
                self.count_failure(address)
        return verified

    def check(self, address: str) -> None:
        """Raise `TooManyRequests` if `address` is over the limit."""
        client = limit_key(address)
        times, now = self._failures.get(client), self._clock()
        if not times:
            return
        while times and times[0] <= now - self._window:
            times.popleft()
        if not times:
            del self._failures[client]
        elif len(times) >= self._limit:
            wait = times[0] + self._window - now
            raise TooManyRequests(whole_seconds(wait), "too many wrong passwords")

    def count_failure(self, address: str) -> None:
        """Count a wrong password, and log when the limit is reached."""
        if not self._limit:
            return
        client = limit_key(address)
        times = self._failures.setdefault(client, deque(maxlen=self._limit))
        was_full = len(times) >= self._limit
        times.append(self._clock())
        self._failures.move_to_end(client)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)
        if len(times) >= self._limit and not was_full:
            logger.warning(
                "too many wrong passwords from %s: its logins are refused for a while", client
            )


@dataclass(slots=True)
class _ClientPlaces:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_CONCURRENT))
    users: int = 0


class _Places:
    """A semaphore for each client, kept only while it is in use."""

    def __init__(self) -> None:
        self._places: dict[str, _ClientPlaces] = {}

    @asynccontextmanager
    async def through(self, client: str) -> AsyncIterator[None]:
        """Hold one of the client's places."""
        places = self._places.setdefault(client, _ClientPlaces())
        places.users += 1
        try:
            async with places.free:
                yield
        finally:
            places.users -= 1
            if not places.users:
                del self._places[client]


UNLIMITED = LoginLimits()
