"""The quota accounts of repositories, in which requests reserve space."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar
from weakref import WeakValueDictionary

from storage.concurrency.cancellation import to_completion
from storage.drivers.base import Driver
from storage.errors import TooManyUploads
from storage.repository.quotas.admission import Admission, Growth
from storage.repository.quotas.locks import QuotaLocks
from storage.repository.quotas.members import PartCache
from storage.repository.quotas.turn_queue import TurnQueue
from storage.repository.quotas.usage import Reservation, read_sessions
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId

T = TypeVar("T")

# Bytes that are reserved at a time for a body of undeclared length: a part of the free space, so
# that several uploads can proceed, but enough that reading the usage costs less than writing. Near
# the limit it is a quarter of the free space: Docker pushes the layers of an image concurrently.
_SHARE = 16
_SHARE_NEAR_LIMIT = 4
_LEAST_AHEAD = 1 << 20
_MOST_AHEAD = 64 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The most `bytes` and `uploads` in progress that a repository may have; 0 means no limit."""

    bytes: int = 0
    uploads: int = 0

    def __bool__(self) -> bool:
        return bool(self.bytes or self.uploads)


LimitsOf: TypeAlias = Callable[[RepositoryName], Limits]


class QuotaAccount:
    """The quota account of a repository that has limits."""

    def __init__(
        self, driver: Driver, name: RepositoryName, limits: Limits, queue: TurnQueue[Admission]
    ) -> None:
        self._driver = driver
        self._name = name
        self._limits = limits
        self._queue = queue

    async def start_upload(self, start: Callable[[], Awaitable[T]]) -> T:
        """Call `start`, which begins a session; raise `TooManyUploads` at the limit."""

        async def job(_: Admission) -> T:
            active = await read_sessions(self._driver, self._name)
            if len(active.sizes) >= self._limits.uploads:
                raise TooManyUploads(self._name.text, self._limits.uploads)
            return await start()

        return await self._queue.run(job)

    async def add_content(
        self, digest: Digest, size: int, write: Callable[[], Awaitable[None]]
    ) -> None:
        """Call `write`, which adds content of `size` bytes; raise `QuotaExceeded`."""
        growth = Growth(size, digest)

        async def job(admission: Admission) -> None:
            await admission.admit(growth, self._limits.bytes)
            try:
                await write()
            except BaseException:  # a part of it may be written
                admission.forget()
                raise

        await self._queue.run(job)

    async def reserve(self, upload: UploadId, size: int, *, more: bool) -> int:
        """Reserve `size` bytes in all for a session, and a part of the free space if `more`.

        Returns the reserved bytes, the session's previous bytes included. Raises `QuotaExceeded`.
        """

        async def job(admission: Admission) -> int:
            left = await admission.admit(Growth(size, upload=upload), self._limits.bytes)
            ahead = _ahead(left) if more else 0
            admission.count(Growth(size + ahead, upload=upload))
            await self._write_reservation(upload, Reservation(size + ahead))
            return size + ahead

        return await self._queue.run(job)

    async def record_commit(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Record in a session's reservation that it is being committed as `digest`.

        This needs no additional space, and so not the quota lock.
        """
        await to_completion(self._write_reservation(upload, Reservation(size, digest)))

    async def check(self, upload: UploadId, size: int, digest: Digest) -> None:
        """Raise `QuotaExceeded` if the quota was lowered since a session's bytes were reserved."""
        growth = Growth(size, digest, upload)

        async def job(admission: Admission) -> None:
            await admission.admit(growth, self._limits.bytes)

        await self._queue.run(job)

    async def release(self, upload: UploadId) -> None:
        """Delete the reservation of a session, which from now on counts with its own size."""
        path = paths.upload_reserved(self._name, upload)
        await to_completion(self._driver.staging.discard(path))

    async def _write_reservation(self, upload: UploadId, reservation: Reservation) -> None:
        await self._driver.write_unsynced(
            paths.upload_reserved(self._name, upload), bytes(reservation)
        )


class QuotaAccounts:
    """The quota accounts of all repositories."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._locks = QuotaLocks(driver)
        self._part_cache = PartCache()
        self._queues: WeakValueDictionary[str, TurnQueue[Admission]] = WeakValueDictionary()

    def of(self, name: RepositoryName, limits: Limits) -> QuotaAccount:
        """Return the account of a repository that has `limits`."""
        queue = self._queues.setdefault(name.text, TurnQueue(partial(self._turn, name)))
        return QuotaAccount(self._driver, name, limits, queue)

    @asynccontextmanager
    async def _turn(self, name: RepositoryName) -> AsyncIterator[Admission]:
        async with self._locks.of(name):
            yield Admission(self._driver, name, self._part_cache)


def _ahead(left: int) -> int:
    """Return how many of the `left` bytes to reserve for a body of undeclared length."""
    return min(_MOST_AHEAD, max(left // _SHARE, min(_LEAST_AHEAD, left // _SHARE_NEAR_LIMIT)))
