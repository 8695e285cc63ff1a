"""Upload sessions: bytes that arrive in pieces until their digest is known.

A session is a folder and nothing else, so any worker, a restarted server, or CNCF distribution on
the same volume can go on with it. What it holds is what its data file holds. The state of the
hash function is written down when a request ends that left much to hash, and only once the bytes
it covers are durable: after a power cut a state never vouches for bytes that are not there. What
comes after the newest state is hashed again by the next request.

    POST    startedat, data (empty); for another algorithm than sha256 hashstates/<alg>/0
    PATCH   data grows; after some MiB: fsync; hashstates/<alg>/<length>, and the older states go
    PUT     digest equal? fsync, rename to blobs/…/data; link in _layers; the folder goes

A crash between those steps leaves a session that goes on from its length, a blob that no link
names (rubbish, collected later), or a session without data (purged later).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from storage import paths
from storage.buffers import Buffer
from storage.concurrency import to_completion
from storage.digest import Digest
from storage.drivers.base import Driver, StagedFile, StagingBusy
from storage.errors import (
    ChunkOutOfOrder,
    ChunkSizeMismatch,
    DigestInvalid,
    PathNotFound,
    UploadBusy,
    UploadUnknown,
)
from storage.hash_states import HashStates
from storage.hashing import Hasher, Hashers
from storage.links import link_to
from storage.names import RepositoryName, UploadId
from storage.pipeline import Chunk, pump

logger = logging.getLogger(__name__)

# Bytes. Hashing so many again takes about as long as having them durable and writing a state.
WORTH_A_STATE = 1 << 20


class UploadStore:
    """The upload sessions of repository `name`."""

    def __init__(self, driver: Driver, hashers: Hashers, name: RepositoryName) -> None:
        self._driver = driver
        self._hashers = hashers
        self._name = name

    async def start(self, algorithm: str, owner: str = "") -> UploadId:
        """Begin a session that hashes with `algorithm`, a supported one."""
        id = UploadId.new(owner)
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        notes = {paths.upload_started(self._name, id): started.encode()}
        notes |= self._states(id).first(algorithm)
        await self._driver.staging.create(paths.upload_data(self._name, id), notes)
        return id

    async def length(self, id: UploadId) -> int:
        """Return how many bytes a session holds; raise `UploadUnknown`."""
        try:
            return await self._driver.staging.length(paths.upload_data(self._name, id))
        except PathNotFound:
            raise UploadUnknown(id) from None

    async def cancel(self, id: UploadId) -> None:
        """End a session and drop what it holds; raise `UploadUnknown`."""
        async with self.open(id) as session:
            await session.discard()

    @asynccontextmanager
    async def open(self, id: UploadId) -> AsyncIterator[UploadSession]:
        """Hold a session exclusively, and leave it so that anyone can go on with it.

        Raises `UploadUnknown`, or `UploadBusy` when another request keeps writing to it.
        """
        states = self._states(id)
        async with self._hold(id) as staged:
            hasher = await states.newest(staged.length)
            session = UploadSession(self._driver, self._name, id, staged, states, hasher)
            try:
                yield session
            finally:
                await to_completion(session.settle())

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
    """A session that this request alone holds.

    The hash function follows what arrives as long as it has seen all that is held. Where its
    state can be exported it is brought up to date first; where it can't, reading everything
    again for each chunk would be quadratic, so that waits for the commit.
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
        self._noted = hasher.length
        self._ended = False

    @property
    def length(self) -> int:
        """How many bytes are held."""
        return self._staged.length

    async def append(self, source: AsyncIterator[Buffer], chunk: Chunk) -> None:
        """Add what `source` yields. If it breaks off, what arrived is kept.

        Raises `ChunkOutOfOrder` before anything is read, and `ChunkSizeMismatch`, after which the
        session holds what it held before.
        """
        held = self.length
        if chunk.start is not None and chunk.start != held:
            raise ChunkOutOfOrder(chunk.start, held)
        if self._hasher.state() is not None:
            await self._catch_up(self._hasher)
        try:
            await pump(_declared(source, chunk, held), self._write)
        except ChunkSizeMismatch:
            await self._staged.truncate(held)
            self._hasher = await self._states.newest(held)
            raise

    async def commit(self, digest: Digest) -> None:
        """Make what is held a blob of the repository, durably, and end the session.

        Raises `DigestInvalid`, after which the session and what it held are gone, and
        `UploadUnknown` when they were gone before.
        """
        actual = await self._digest(digest.algorithm)
        if actual != digest:
            await self.discard()
            raise DigestInvalid(f"the upload hashes to {actual}, not to {digest}")
        await to_completion(self._adopt(digest))

    async def discard(self) -> None:
        """End the session and drop what it holds."""
        self._ended = True
        await self._driver.staging.discard(paths.upload(self._name, self._id))

    async def settle(self) -> None:
        """Write down the hash state if the next request would have much to read again.

        Raises OSError when what is held can't be made durable: then nothing of it is held any more.
        """
        in_step = self._hasher.length == self.length
        if self._ended or not in_step or self._hasher.length - self._noted < WORTH_A_STATE:
            return
        await self._staged.sync()
        try:
            await self._states.note(self._hasher)
        except OSError as error:
            logger.warning("the hash state of upload %s was not written: %s", self._id, error)

    async def _adopt(self, digest: Digest) -> None:
        link = link_to(paths.layer_link(self._name, digest), digest)
        try:
            await self._staged.adopt(paths.blob(digest), (link,))
        except FileNotFoundError:
            await self._check_is_there()
            raise
        self._ended = True

    async def _check_is_there(self) -> None:
        """Raise `UploadUnknown` if somebody took the session away, with its repository say."""
        try:
            await self._driver.staging.length(paths.upload_data(self._name, self._id))
        except PathNotFound:
            self._ended = True
            raise UploadUnknown(self._id) from None

    async def _write(self, data: Buffer) -> None:
        await self._staged.append(data, self._observe)

    def _observe(self, data: Buffer) -> None:
        """Hash what is appended, if all before it was; what is not, the commit will read."""
        if self._hasher.length == self.length:
            self._hasher.update(data)

    async def _digest(self, algorithm: str) -> Digest:
        same = self._hasher.algorithm == algorithm
        hasher = self._hasher if same else self._states.fresh(algorithm)
        await self._catch_up(hasher)
        return hasher.digest()

    async def _catch_up(self, hasher: Hasher) -> None:
        await self._staged.replay(hasher.length, hasher.update)


async def _declared(
    source: AsyncIterator[Buffer], chunk: Chunk, held: int
) -> AsyncIterator[Buffer]:
    """Yield what `source` yields; raise `ChunkSizeMismatch` when it is not what was declared."""
    received = 0
    async for data in source:
        received += len(data)
        if chunk.length is not None and received > chunk.length:
            raise ChunkSizeMismatch(chunk.length, received, held)
        yield data
    if chunk.length is not None and received != chunk.length:
        raise ChunkSizeMismatch(chunk.length, received, held)
