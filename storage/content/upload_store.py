"""Upload sessions: bytes that arrive in pieces until their digest is known.

A session is only a folder, so any worker, a restarted server, or CNCF distribution on the same
volume can continue it. Its length is that of its data file. The state of the hash function is saved
at the end of a request that hashed much, and only once the bytes it covers are durable: after a
power cut no state covers missing bytes. The next request hashes the bytes after the newest state
again.

    POST    startedat, data (empty); for another algorithm than sha256, hashstates/<alg>/0
    PATCH   append to data; after 1 MiB: fsync, hashstates/<alg>/<length>, delete older states
    PUT     digest equal? fsync, rename to blobs/…/data, link in _layers, delete the folder

A crash between these steps leaves a session that continues at its length, an unreferenced blob
(collected later), or a session without data (purged later).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from storage.concurrency.cancellation import to_completion
from storage.content.hash_states import HashStates
from storage.content.hashing import Hasher, Hashers
from storage.content.links import link_change
from storage.content.pipeline import pump
from storage.drivers.base import Driver, StagedFile, StagingBusy
from storage.errors import (
    ChunkOutOfOrder,
    ChunkSizeMismatch,
    DigestInvalid,
    PathNotFound,
    UploadBusy,
    UploadUnknown,
)
from storage.values import paths
from storage.values.buffers import Buffer
from storage.values.declared_range import DeclaredRange
from storage.values.digest import Digest
from storage.values.names import RepositoryName, UploadId

logger = logging.getLogger(__name__)

# Bytes. Hashing so many again takes about as long as syncing them and saving a state.
WORTH_A_STATE = 1 << 20


class UploadStore:
    """The upload sessions of repository `name`."""

    def __init__(self, driver: Driver, hashers: Hashers, name: RepositoryName) -> None:
        self._driver = driver
        self._hashers = hashers
        self._name = name

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        """Start a session that hashes with `algorithm`, which must be supported."""
        id = UploadId.new(owner)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        files = {paths.upload_started(self._name, id): started.encode()}
        files |= self._states(id).initial_files(algorithm)
        await self._driver.staging.create(paths.upload_data(self._name, id), files)
        return id

    async def length(self, id: UploadId) -> int:
        """Return how many bytes a session has received; raise `UploadUnknown`."""
        try:
            return await self._driver.staging.length(paths.upload_data(self._name, id))
        except PathNotFound:
            raise UploadUnknown(id) from None

    async def cancel(self, id: UploadId) -> None:
        """End a session and delete its bytes; raise `UploadUnknown` or `UploadBusy`."""
        async with self.open(id) as session:
            await session.discard()

    @asynccontextmanager
    async def open(self, id: UploadId) -> AsyncIterator[UploadSession]:
        """Lock a session exclusively; at the end, save its hash state for the next request.

        Raises `UploadUnknown`, or `UploadBusy` when another request keeps the session locked.
        """
        states = self._states(id)
        async with self._hold(id) as staged:
            hasher = await states.newest(staged.length)
            session = UploadSession(self._driver, self._name, id, staged, states, hasher)
            try:
                yield session
            finally:
                await to_completion(session.save_hash_state())

    @asynccontextmanager
    async def _hold(self, id: UploadId) -> AsyncIterator[StagedFile]:
        try:
            async with self._driver.staging.open(paths.upload_data(self._name, id)) as staged:
                yield staged
        except StagingBusy:
            raise UploadBusy(await self.length(id)) from None
        except PathNotFound:
            raise UploadUnknown(id) from None

    def _states(self, id: UploadId) -> HashStates:
        return HashStates(self._driver, self._hashers, self._name, id)


class UploadSession:
    """A session that is locked by this request.

    Bytes are hashed as they arrive, provided that all bytes before them are hashed. If the hasher
    can export its state, the bytes that it lacks are hashed before the first append. If it cannot,
    reading everything again for each chunk would be quadratic, so that is left to the commit.
    """

    def __init__(
        self,
        driver: Driver,
        name: RepositoryName,
        id: UploadId,
        staged: StagedFile,
        states: HashStates,
        hasher: Hasher,
    ) -> None:
        self._driver = driver
        self._name = name
        self._id = id
        self._staged = staged
        self._states = states
        self._hasher = hasher
        self._saved = hasher.length
        self._ended = False

    @property
    def length(self) -> int:
        """The number of bytes received so far."""
        return self._staged.length

    async def append(self, source: AsyncIterator[Buffer], chunk: DeclaredRange) -> None:
        """Append what `source` yields. If `source` fails, what it yielded before is kept.

        Raises `ChunkOutOfOrder` before it reads anything, and `ChunkSizeMismatch` after it has
        restored the session's previous length.
        """
        length = self.length
        if chunk.start is not None and chunk.start != length:
            raise ChunkOutOfOrder(chunk.start, length)
        if self._hasher.state() is not None:
            await self._catch_up(self._hasher)
        try:
            await pump(_declared(source, chunk, length), self._write)
        except ChunkSizeMismatch:
            await self._staged.truncate(length)
            self._hasher = await self._states.newest(length)
            raise

    async def commit(self, digest: Digest) -> None:
        """Store the received bytes as a blob of the repository, durably, and end the session.

        Raises `DigestInvalid`, which ends the session too, and `UploadUnknown` if the session was
        removed meanwhile.
        """
        actual = await self._digest(digest.algorithm)
        if actual != digest:
            await self.discard()
            raise DigestInvalid(f"the upload hashes to {actual}, not to {digest}")
        await to_completion(self._adopt(digest))

    async def discard(self) -> None:
        """End the session and delete its bytes."""
        self._ended = True
        await self._driver.staging.discard(paths.upload(self._name, self._id))

    async def save_hash_state(self) -> None:
        """Save the hash state if the next request would have to hash much again.

        Raises OSError if the received bytes cannot be synced; then all of them are dropped.
        """
        is_current = self._hasher.length == self.length
        if self._ended or not is_current or self._hasher.length - self._saved < WORTH_A_STATE:
            return
        await self._staged.sync()
        try:
            await self._states.save(self._hasher)
        except OSError as error:
            logger.warning("could not save the hash state of upload %s: %s", self._id, error)

    async def _adopt(self, digest: Digest) -> None:
        link = link_change(paths.layer_link(self._name, digest), digest)
        try:
            await self._staged.adopt(paths.blob(digest), (link,))
        except FileNotFoundError:
            await self._check_exists()
            raise
        self._ended = True

    async def _check_exists(self) -> None:
        """Raise `UploadUnknown` if the session was removed, for example with its repository."""
        try:
            await self._driver.staging.length(paths.upload_data(self._name, self._id))
        except PathNotFound:
            self._ended = True
            raise UploadUnknown(self._id) from None

    async def _write(self, data: Buffer) -> None:
        await self._staged.append(data, self._observe)

    def _observe(self, data: Buffer) -> None:
        """Hash appended bytes if all bytes before them are hashed; otherwise the commit does."""
        if self._hasher.length == self.length:
            self._hasher.update(data)

    async def _digest(self, algorithm: str) -> Digest:
        is_same = self._hasher.algorithm == algorithm
        hasher = self._hasher if is_same else self._states.new(algorithm)
        await self._catch_up(hasher)
        return hasher.digest()

    async def _catch_up(self, hasher: Hasher) -> None:
        await self._staged.replay(hasher.length, hasher.update)


async def _declared(
    source: AsyncIterator[Buffer], chunk: DeclaredRange, length: int
) -> AsyncIterator[Buffer]:
    """Yield what `source` yields; raise `ChunkSizeMismatch` if it is not as long as declared."""
    received = 0
    async for data in source:
        received += len(data)
        if chunk.length is not None and received > chunk.length:
            raise ChunkSizeMismatch(chunk.length, received, length)
        yield data
    if chunk.length is not None and received != chunk.length:
        raise ChunkSizeMismatch(chunk.length, received, length)
