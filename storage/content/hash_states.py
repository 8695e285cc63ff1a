"""The saved hash states of an upload session: one request saves a state, another restores it."""

from __future__ import annotations

from collections.abc import Mapping

from storage.content.hashing import Hasher, Hashers
from storage.drivers.base import Driver
from storage.errors import PathNotFound
from storage.values import paths
from storage.values.digest import CANONICAL, HEX_LENGTHS
from storage.values.names import RepositoryName, UploadId

# The number of digits of the largest offset that a state's 64-bit length can hold.
_LONGEST_OFFSET = 19


class HashStates:
    """The folder `hashstates/` of one session."""

    def __init__(
        self, driver: Driver, hashers: Hashers, name: RepositoryName, id: UploadId
    ) -> None:
        self._driver = driver
        self._hashers = hashers
        self._name = name
        self._id = id
        self._stored: list[tuple[str, int]] = []

    def initial_files(self, algorithm: str) -> Mapping[str, bytes]:
        """Return the file that tells later requests with which algorithm a session started."""
        state = None if algorithm == CANONICAL else self._hashers.new(algorithm).state()
        return {} if state is None else {self._path(algorithm, 0): state}

    async def newest(self, length: int) -> Hasher:
        """Restore the state that covers most of the first `length` bytes, or start at zero.

        Damaged states are skipped. A state that covers more than `length` bytes is removed: bytes
        were lost, and others may take their place, for which the state would be wrong.
        """
        listed = await self._list()
        self._stored = [state for state in listed if state[1] <= length]
        for state in listed:
            if state[1] > length:
                await self._driver.staging.discard(self._path(*state))
        for algorithm, offset in sorted(self._stored, key=lambda state: state[1], reverse=True):
            if offset:
                hasher = self._hashers.restore(algorithm, await self._read(algorithm, offset))
                if hasher is not None and hasher.length == offset:
                    return hasher
        return self._hashers.new(listed[0][0] if listed else CANONICAL)

    def new(self, algorithm: str) -> Hasher:
        """Return a hasher for another algorithm than the one the session started with."""
        return self._hashers.new(algorithm)

    async def save(self, hasher: Hasher) -> None:
        """Save a state that covers durable bytes, then remove the states it supersedes."""
        state, saved = hasher.state(), (hasher.algorithm, hasher.length)
        if state is None:
            return
        await self._driver.write_unsynced(self._path(*saved), state)
        superseded = [stored for stored in self._stored if stored != saved]
        self._stored = [saved]
        for stored in superseded:
            await self._driver.staging.discard(self._path(*stored))

    async def _list(self) -> list[tuple[str, int]]:
        folder = paths.upload_states(self._name, self._id)
        if not await self._driver.exists(folder):
            return []
        return await self._driver.batch(
            lambda reader: [
                (algorithm, int(name))
                for algorithm in HEX_LENGTHS
                for name in reader.names(f"{folder}/{algorithm}")
                if name.isascii() and name.isdigit() and len(name) <= _LONGEST_OFFSET
            ]
        )

    async def _read(self, algorithm: str, offset: int) -> bytes:
        try:
            return await self._driver.read(self._path(algorithm, offset))
        except PathNotFound:
            return b""

    def _path(self, algorithm: str, offset: int) -> str:
        return paths.upload_state(self._name, self._id, algorithm, offset)
