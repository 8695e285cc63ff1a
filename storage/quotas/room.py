"""The room that a repository has left, and how it is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from storage import paths
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver
from storage.errors import QuotaExceeded, TooManyUploads
from storage.names import RepositoryName, UploadId
from storage.quotas import held
from storage.quotas.held import Held, Promise, Sizes
from storage.quotas.turns import Turns

T = TypeVar("T")

# Bytes that are promised at once to who does not say how many come: a part of the room that is
# left, so that several go on side by side, but not so little that looking costs more than writing.
_SHARE = 16
_LEAST_AHEAD = 1 << 20
_MOST_AHEAD = 64 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The most `bytes` a repository may hold, and `uploads` that may be in progress; 0: any."""

    bytes: int = 0
    uploads: int = 0

    def __bool__(self) -> bool:
        return bool(self.bytes or self.uploads)


LimitsOf: TypeAlias = Callable[[RepositoryName], Limits]


@dataclass(frozen=True, slots=True)
class Growth:
    """`size` bytes to be held in all, by one session, or as the content of `digest`."""

    size: int
    digest: Digest | None = None
    upload: UploadId | None = None

    def left(self, there: Held, most: int) -> int:
        """Return how much room it leaves; less than nothing when it does not fit."""
        if there.has(self.digest):  # it costs nothing a second time
            return 0
        return most - there.beside(self.upload, self.digest) - self.size


class Room:
    """The room of one repository, which has limits."""

    def __init__(
        self, driver: Driver, name: RepositoryName, limits: Limits, turns: Turns, sizes: Sizes
    ) -> None:
        self._driver = driver
        self._name = name
        self._limits = limits
        self._turns = turns
        self._sizes = sizes

    async def begin(self, start: Callable[[], Awaitable[T]]) -> T:
        """Have `start` begin a session; raise `TooManyUploads` where it would be one too many."""

        async def turn() -> T:
            there = await held.sessions(self._driver, self._name)
            if len(there.sizes) >= self._limits.uploads:
                raise TooManyUploads(self._name.text, self._limits.uploads)
            return await start()

        async with self._turns.of(self._name):
            return await to_completion(turn())

    async def add(self, digest: Digest, size: int, write: Callable[[], Awaitable[None]]) -> None:
        """Have `write` add content that takes `size` bytes; raise `QuotaExceeded`."""

        async def turn() -> None:
            await self._admit(Growth(size, digest))
            await write()

        async with self._turns.of(self._name):
            await to_completion(turn())

    async def promise(self, upload: UploadId, size: int, *, more: bool) -> int:
        """Let a session hold `size` bytes; return how many it may, if it may want `more`.

        Raises `QuotaExceeded`.
        """

        async def turn() -> int:
            left = await self._admit(Growth(size, upload=upload))
            ahead = min(left, _MOST_AHEAD, max(left // _SHARE, _LEAST_AHEAD)) if more else 0
            await self._note(upload, Promise(size + ahead))
            return size + ahead

        async with self._turns.of(self._name):
            return await to_completion(turn())

    async def convert(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Let a session of `size` bytes become a blob, for which it needs no more room.

        So nobody has to wait for anybody.
        """
        await to_completion(self._note(upload, Promise(size, digest)))

    async def check(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Raise `QuotaExceeded` if the quota was lowered since a session was promised its room."""
        await self._admit(Growth(size, digest, upload))

    async def release(self, upload: UploadId) -> None:
        """End what was promised: from now on a session counts for what it holds."""
        note = paths.upload_reserved(self._name, upload)
        await to_completion(self._driver.staging.discard(note))

    async def _admit(self, growth: Growth) -> int:
        """Return how much room there will be left; raise `QuotaExceeded` if there is not enough."""
        most = self._limits.bytes
        there = await held.held(self._driver, self._name, self._sizes)
        # What a folder without a link says is believed neither for nor against anybody.
        if there.has(growth.digest) or growth.left(there, most) < 0:
            there = await held.held(self._driver, self._name, self._sizes, thoroughly=True)
        left = growth.left(there, most)
        if left < 0:
            beside = there.beside(growth.upload)
            raise QuotaExceeded(self._name.text, most, beside, growth.size)
        return left

    async def _note(self, upload: UploadId, promise: Promise) -> None:
        await self._driver.note(paths.upload_reserved(self._name, upload), bytes(promise))
