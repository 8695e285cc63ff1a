"""The hash states of one upload session: written down by one request, taken up by another."""

from __future__ import annotations

from collections.abc import Mapping

from storage import paths
from storage.digest import CANONICAL, HEX_LENGTHS
from storage.drivers.base import Driver
from storage.errors import PathNotFound
from storage.hashing import Hasher, Hashers
from storage.names import RepositoryName, UploadId

# The digits of the largest offset a state's 64-bit length can hold.
_LONGEST_OFFSET = 19


class HashStates:
    """What `hashstates/` of one session holds."""

    def __init__(
        self, driver: Driver, hashers: Hashers, name: RepositoryName, id: UploadId
    ) -> None:
        self._driver = driver
        self._hashers = hashers
        self._name = name
        self._id = id
        self._there: list[tuple[str, int]] = []

    def first(self, algorithm: str) -> Mapping[str, bytes]:
        """Return the notes that tell a later request which algorithm a session is begun with."""
        state = None if algorithm == CANONICAL else self._hashers.new(algorithm).state()
        return {} if state is None else {self._path(algorithm, 0): state}

    async def newest(self, length: int) -> Hasher:
        """Take up the state that covers most of the first `length` bytes, or start over.

        A damaged state is passed over. One that covers more than is held is removed: other bytes
        may come in place of those that were lost, and it would vouch for them.
        """
        listed = await self._list()
        self._there = [state for state in listed if state[1] <= length]
        for state in listed:
            if state[1] > length:
                await self._driver.staging.discard(self._path(*state))
        for algorithm, offset in sorted(self._there, key=lambda state: state[1], reverse=True):
            if offset:
                hasher = self._hashers.restore(algorithm, await self._read(algorithm, offset))
                if hasher is not None and hasher.length == offset:
                    return hasher
        return self._hashers.new(listed[0][0] if listed else CANONICAL)

    def fresh(self, algorithm: str) -> Hasher:
        """Start over with another algorithm than the session was begun with."""
        return self._hashers.new(algorithm)

    async def note(self, hasher: Hasher) -> None:
        """Write down a state that covers durable bytes, then drop those it supersedes."""
        state, noted = hasher.state(), (hasher.algorithm, hasher.length)
        if state is None:
            return
        await self._driver.note(self._path(*noted), state)
        superseded = [one for one in self._there if one != noted]
        self._there = [noted]
        for one in superseded:
            await self._driver.staging.discard(self._path(*one))

    async def _list(self) -> list[tuple[str, int]]:
        folder = paths.upload_states(self._name, self._id)
        if not await self._driver.exists(folder):
            return []
        return await self._driver.batch(
            lambda view: [
                (algorithm, int(name))
                for algorithm in HEX_LENGTHS
                for name in view.names(f"{folder}/{algorithm}")
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
