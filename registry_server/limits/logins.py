"""How many wrong passwords an address may show, before it has to wait.

Also a right one is not looked at then: whoever guesses must not learn which that was. A right one
forgives no wrong one, or who has an account could guess on at another's.
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

from registry_server.clients import client_address, counted_as
from registry_server.limits.problems import TooManyRequests, whole_seconds

T = TypeVar("T")

_WINDOW = 300.0
_MOST = 4096  # addresses
# Passwords of one address that are checked at once. Without it all that are shown at once would be
# checked, however many: none of them has failed yet.
_AT_ONCE = 4

logger = logging.getLogger(__name__)


class LoginLimits:
    """Lets an address show `failures` wrong passwords within `window` seconds; 0 is no limit.

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
        # When the last wrong ones were shown, the oldest first.
        self._failures: OrderedDict[str, deque[int]] = OrderedDict()
        self._gates = _Gates()

    async def attempt(self, scope: Scope, verify: Callable[[], Awaitable[T | None]]) -> T | None:
        """Return what `verify` does, which checks a password: None for a wrong one, and counts it.

        Raises `TooManyRequests` instead where there were too many. Those that are checked already
        go on, so there may be three more than the limit.
        """
        address = self._address(scope) if self._limit else ""
        if not address:
            return await verify()
        self.check(address)
        async with self._gates.through(counted_as(address)):
            self.check(address)
            found = await verify()
            if found is None:
                self.failed(address)
        return found

    def check(self, address: str) -> None:
        """Return if a password of `address` may be looked at; else raise `TooManyRequests`."""
        client = counted_as(address)
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

    def failed(self, address: str) -> None:
        """Count a wrong password; a line of the log says that it was the last one for a while."""
        if not self._limit:
            return
        client = counted_as(address)
        times = self._failures.setdefault(client, deque(maxlen=self._limit))
        was_full = len(times) >= self._limit
        times.append(self._clock())
        self._failures.move_to_end(client)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)
        if len(times) >= self._limit and not was_full:
            logger.warning(
                "no password of %s is looked at for a while: too many were wrong", client
            )


@dataclass(slots=True)
class _Gate:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    users: int = 0


class _Gates:
    """Lets a few at a time through for each client; nothing is kept for those who want nothing."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}

    @asynccontextmanager
    async def through(self, client: str) -> AsyncIterator[None]:
        """Wait until few enough are inside, and be one of them."""
        gate = self._gates.setdefault(client, _Gate())
        gate.users += 1
        try:
            async with gate.free:
                yield
        finally:
            gate.users -= 1
            if not gate.users:
                del self._gates[client]


UNLIMITED = LoginLimits()
