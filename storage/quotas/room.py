"""The room that a repository has left, and how it is taken."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from storage import paths
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver
from storage.errors import TooManyUploads
from storage.names import RepositoryName, UploadId
from storage.quotas import held
from storage.quotas.admission import Admission, Growth
from storage.quotas.held import Promise
from storage.quotas.members import Tallies
from storage.quotas.turn_queue import TurnQueue
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


class Room:
    """The room of one repository, which has limits."""

    def __init__(
        self, driver: Driver, name: RepositoryName, limits: Limits, queue: TurnQueue[Admission]
    ) -> None:
        self._driver = driver
        self._name = name
        self._limits = limits
        self._queue = queue

    async def begin(self, start: Callable[[], Awaitable[T]]) -> T:
        """Have `start` begin a session; raise `TooManyUploads` where it would be one too many."""

        async def job(_: Admission) -> T:
            there = await held.sessions(self._driver, self._name)
            if len(there.sizes) >= self._limits.uploads:
                raise TooManyUploads(self._name.text, self._limits.uploads)
            return await start()

        return await self._queue.run(job)

    async def add(self, digest: Digest, size: int, write: Callable[[], Awaitable[None]]) -> None:
        """Have `write` add content that takes `size` bytes; raise `QuotaExceeded`."""
        growth = Growth(size, digest)

        async def job(admission: Admission) -> None:
            await admission.admit(growth, self._limits.bytes)
            try:
                await write()
            except BaseException:  # some of it may be there
                admission.forget()
                raise

        await self._queue.run(job)

    async def promise(self, upload: UploadId, size: int, *, more: bool) -> int:
        """Let a session hold `size` bytes; return how many it may, if it may want `more`.

        Raises `QuotaExceeded`.
        """

        async def job(admission: Admission) -> int:
            left = await admission.admit(Growth(size, upload=upload), self._limits.bytes)
            ahead = min(left, _MOST_AHEAD, max(left // _SHARE, _LEAST_AHEAD)) if more else 0
            admission.count(Growth(size + ahead, upload=upload))
            await self._note(upload, Promise(size + ahead))
            return size + ahead

        return await self._queue.run(job)

    async def convert(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Let a session of `size` bytes become a blob, for which it needs no more room.

        So nobody has to wait for anybody.
        """
        await to_completion(self._note(upload, Promise(size, digest)))

    async def check(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Raise `QuotaExceeded` if the quota was lowered since a session was promised its room."""
        growth = Growth(size, digest, upload)

        async def job(admission: Admission) -> None:
            await admission.admit(growth, self._limits.bytes)

        await self._queue.run(job)

    async def release(self, upload: UploadId) -> None:
        """End what was promised: from now on a session counts for what it holds."""
        note = paths.upload_reserved(self._name, upload)
        await to_completion(self._driver.staging.discard(note))

    async def _note(self, upload: UploadId, promise: Promise) -> None:
        await self._driver.note(paths.upload_reserved(self._name, upload), bytes(promise))


class Rooms:
    """The room of each repository."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._turns = Turns(driver)
        self._tallies = Tallies()
        self._queues: WeakValueDictionary[str, TurnQueue[Admission]] = WeakValueDictionary()

    def of(self, name: RepositoryName, limits: Limits) -> Room:
        """Return the room of one that has limits."""
        queue = self._queues.setdefault(name.text, TurnQueue(partial(self._turn, name)))
        return Room(self._driver, name, limits, queue)

    @asynccontextmanager
    async def _turn(self, name: RepositoryName) -> AsyncIterator[Admission]:
        async with self._turns.of(name):
            yield Admission(self._driver, name, self._tallies)
