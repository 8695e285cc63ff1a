"""Users and passwords from a watched file of `name:hash` lines; `htpasswd_file` reads the lines.

An unknown name takes as long as a wrong password, so response times do not reveal which accounts
exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import bcrypt

from registry_server.access.interfaces import Actor
from registry_server.access.users.htpasswd_file import Users
from registry_server.access.users.password_cache import PasswordCache
from registry_server.files.watched_file import WatchedFile

# Tells whether a password matches a hash; blocks for the time of one bcrypt hash.
CheckPassword: TypeAlias = Callable[[bytes, bytes], bool]

# Bytes that bcrypt uses. Apache and distribution ignore the rest; bcrypt 5 refuses longer ones.
LONGEST_PASSWORD = 72
DEFAULT_COST = 12

_NO_PREIMAGE = b"." * 31


class HtpasswdUsers:
    """The users of a watched file; implements `Credentials`."""

    def __init__(
        self,
        file: WatchedFile[Users],
        *,
        cache: PasswordCache | None = None,
        check: CheckPassword = bcrypt.checkpw,
        parallel: int | None = None,
    ) -> None:
        """Check passwords by `check`, at most `parallel` concurrently."""
        self._file = file
        self._cache = cache or PasswordCache()
        self._check = check
        self._free = asyncio.Semaphore(parallel or _parallel(os.cpu_count() or 1))
        self._seen: Users | None = None
        self._decoy = b""

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return the user with that name and password, or None.

        Only the first 72 bytes of the password count. Bytes that are not UTF-8 are surrogates, as
        `parse_basic` decodes them.
        """
        try:
            encoded = password.encode("utf-8", "surrogateescape")
            name.encode("utf-8")
        except UnicodeEncodeError:
            return None
        if b"\0" in encoded:
            return None
        users = await self._file.now()
        is_right = await self._verified(users, name, encoded[:LONGEST_PASSWORD])
        return Actor(name) if is_right else None

    async def has(self, name: str) -> bool:
        """Return whether the user exists."""
        return name in await self._file.now()

    async def generation(self, name: str) -> str | None:
        """Return an id of the user's current password; None if the user does not exist.

        It reveals nothing of the password, and is the same in every process.
        """
        hash = (await self._file.now()).get(name)
        return None if hash is None else hashlib.sha256(b"generation\0" + hash).hexdigest()[:32]

    async def _verified(self, users: Users, name: str, password: bytes) -> bool:
        is_known = name in users
        hash = users[name] if is_known else self._decoy_among(users)

        async def check() -> bool:
            return await self._matches(password, hash) and is_known

        return await self._cache.verified(name, password, hash, check)

    async def _matches(self, password: bytes, hash: bytes) -> bool:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(None, self._check, password, hash)
        except BaseException:
            self._free.release()
            raise
        # Released by the thread, not on cancellation: the thread is busy until it returns.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def _decoy_among(self, users: Users) -> bytes:
        """Return a hash that no password matches, at the cost that most users have."""
        if users is not self._seen:
            self._seen = users
            self._decoy = bcrypt.gensalt(_usual_cost(users)) + _NO_PREIMAGE
        return self._decoy


def _usual_cost(users: Users) -> int:
    """Return the most frequent cost; of several, the highest."""
    costs = Counter(int(hash[4:6]) for hash in users.values())
    return max(costs, key=lambda cost: (costs[cost], cost), default=DEFAULT_COST)


def _parallel(cores: int) -> int:
    """Return twice the cores, or half the threads of the event loop if that is less.

    A flood of logins must leave threads for other requests.
    """
    threads = min(32, cores + 4)  # the default of concurrent.futures
    return max(1, min(2 * cores, threads // 2))
