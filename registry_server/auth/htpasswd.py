"""Users and passwords from a file of `name:hash` lines, as Apache's `htpasswd -B` writes it.

Only bcrypt will do, as for CNCF distribution. An unknown name costs as much time as a wrong
password, so that how long an answer takes does not tell who has an account.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import bcrypt

from registry_server.auth.access import Actor
from registry_server.auth.basic import has_controls
from registry_server.auth.remembered import RememberedPasswords
from registry_server.auth.watched import Watched

Users: TypeAlias = Mapping[str, bytes]
# Tells whether a password matches a hash; blocks for as long as the hash costs.
CheckPassword: TypeAlias = Callable[[bytes, bytes], bool]

# All that bcrypt looks at. Apache and distribution ignore what follows; bcrypt 5 refuses it.
LONGEST_PASSWORD = 72
# At 20 a login takes a minute, in a thread that can't be stopped; there are few of those.
LOWEST_COST, HIGHEST_COST = 4, 20
DEFAULT_COST = 12

# The last character of the salt stands for two bits.
_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_NO_PREIMAGE = b"." * 31


def parse_htpasswd(content: bytes) -> Users:
    """Read the users of a file; blank lines and lines that begin with `#` don't count.

    Raises ValueError with the number of the line, and nothing of what it says, when one is no
    `name:hash`, has another hash than bcrypt's, or a name that an earlier line has.
    """
    users: dict[str, bytes] = {}
    for number, line in entries(content):
        try:
            name, hash = _parse_line(line)
            if name in users:
                raise ValueError("has the name of an earlier line")
        except ValueError as error:
            raise ValueError(f"line {number} {error}") from None
        users[name] = hash
    return MappingProxyType(users)


def entries(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that count, without what surrounds them, and their numbers from one."""
    for number, line in enumerate(content.split(b"\n"), start=1):
        entry = line.strip()
        if entry and not entry.startswith(b"#"):
            yield number, entry


def watch_htpasswd(path: Path) -> Watched[Users]:
    """Read a file of users and watch it; raise OSError or ValueError as `Watched` (blocks)."""
    return Watched(path, parse_htpasswd)


def _parse_line(line: bytes) -> tuple[str, bytes]:
    encoded, colon, hash = line.partition(b":")
    if not encoded or not colon:
        raise ValueError("is not name:hash")
    try:
        name = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    if has_controls(name):
        raise ValueError("has control characters in the name")
    found = _BCRYPT.fullmatch(hash)
    if found is None or not LOWEST_COST <= int(found[1]) <= HIGHEST_COST:
        raise ValueError(f"has no bcrypt hash of a cost from {LOWEST_COST} to {HIGHEST_COST}")
    return name, hash


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
        """Return the user of that name and password, or None; only 72 bytes of it are looked at."""
        try:
            shown = password.encode("utf-8")
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
