"""Users and passwords from a watched file of `name:hash` lines; `htpasswd_file` reads the lines.

An unknown name costs as much time as a wrong password, so that how long an answer takes does not
tell which accounts exist.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import bcrypt

from registry_server.auth.access import Actor
from registry_server.auth.htpasswd_file import Users
from registry_server.auth.remembered import RememberedPasswords
from registry_server.auth.watched import Watched

# Tells whether a password matches a hash; blocks for as long as the hash costs.
CheckPassword: TypeAlias = Callable[[bytes, bytes], bool]

# All that bcrypt looks at. Apache and distribution ignore what follows; bcrypt 5 refuses it.
LONGEST_PASSWORD = 72
DEFAULT_COST = 12

_NO_PREIMAGE = b"." * 31


class HtpasswdUsers:
    """The users of a file that is watched; implements `Credentials`."""

    def __init__(
        self,
        file: Watched[Users],
        *,
        remembered: RememberedPasswords | None = None,
        check: CheckPassword = bcrypt.checkpw,
        parallel: int | None = None,
    ) -> None:
        """Check passwords by `check`, at most `parallel` at once."""
        self._file = file
        self._remembered = remembered or RememberedPasswords()
        self._check = check
        self._free = asyncio.Semaphore(parallel or _parallel(os.cpu_count() or 1))
        self._seen: Users | None = None
        self._decoy = b""

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return the user of that name and password, or None; only its first 72 bytes count.

        Bytes of a password that are not UTF-8 come as `basic` decodes them.
        """
        try:
            shown = password.encode("utf-8", "surrogateescape")
            name.encode("utf-8")
        except UnicodeEncodeError:
            return None
        if b"\0" in shown:
            return None
        users = await self._file.now()
        is_right = await self._verified(users, name, shown[:LONGEST_PASSWORD])
        return Actor(name) if is_right else None

    async def has(self, name: str) -> bool:
        """Tell whether there is a user of that name."""
        return name in await self._file.now()

    async def generation(self, name: str) -> str | None:
        """Tell one password of a user from the next, without telling anything of it.

        The same in every process, and None if there is no such user.
        """
        hash = (await self._file.now()).get(name)
        return None if hash is None else hashlib.sha256(b"generation\0" + hash).hexdigest()[:32]

    async def _verified(self, users: Users, name: str, password: bytes) -> bool:
        is_known = name in users
        hash = users[name] if is_known else self._decoy_among(users)

        async def check() -> bool:
            return await self._matches(password, hash) and is_known

        return await self._remembered.verified(name, password, hash, check)

    async def _matches(self, password: bytes, hash: bytes) -> bool:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        try:
            running = loop.run_in_executor(None, self._check, password, hash)
        except BaseException:
            self._free.release()
            raise
        # Not when we are cancelled: the thread goes on, and the next would be one too many.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def _decoy_among(self, users: Users) -> bytes:
        """Return a hash that no password has, which costs what most of the file's do."""
        if users is not self._seen:
            self._seen = users
            self._decoy = bcrypt.gensalt(_usual_cost(users)) + _NO_PREIMAGE
        return self._decoy


def _usual_cost(users: Users) -> int:
    """Return the cost most users have; the higher one of two."""
    costs = Counter(int(hash[4:6]) for hash in users.values())
    return max(costs, key=lambda cost: (costs[cost], cost), default=DEFAULT_COST)


def _parallel(cores: int) -> int:
    """Return twice the cores, or half the threads of the event loop if that is less.

    A flood of logins must not take the threads that all else needs.
    """
    threads = min(32, cores + 4)  # as concurrent.futures has it
    return max(1, min(2 * cores, threads // 2))
