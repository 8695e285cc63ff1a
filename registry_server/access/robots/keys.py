"""Robot accounts in a server: the watched file, and the check of keys."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from registry_server.access.interfaces import Actor
from registry_server.access.robots.document import NO_ROBOTS, Robots, parse_robots
from registry_server.config.robot_names import PREFIX, SEPARATORS
from registry_server.files.watched_file import WatchedFile


class RobotsFile:
    """The watched file of the robots; without a file there are no robots."""

    def __init__(self, path: Path) -> None:
        """Read the file if it exists; raise OSError or ValueError as `WatchedFile` (blocks)."""
        self._file = WatchedFile(path, parse_robots, missing=NO_ROBOTS)

    async def now(self) -> Robots:
        """Return the current robots, or the last usable ones.

        The file is checked at every call: a new key must work in every worker, and a revoked key
        may have leaked. One `stat` in the root directory is cheap enough for the event loop, as it
        is for the links of the storage.
        """
        if self._file.has_changed():
            await asyncio.to_thread(self._file.check)
        return self._file.value


def _now() -> datetime:
    return datetime.now(UTC)


class RobotKeys:
    """The robot accounts of a watched file; implements `Credentials`."""

    def __init__(self, file: RobotsFile, now: Callable[[], datetime] = _now) -> None:
        self._file = file
        self._now = now
        # Compared with the key for an unknown name, so that it takes as long as for a known one.
        self._decoy = secrets.token_bytes(hashlib.sha256().digest_size)

    async def exists(self, login: str, generation: str) -> bool:
        """Return whether the robot `login` exists, has not expired, and is of that `generation`."""
        robot = (await self._file.now()).get(login.removeprefix(f"{PREFIX}:"))
        if robot is None or robot.login != login or robot.is_expired(self._now()):
            return False
        return robot.generation == generation

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return the robot with that login name and secret; None if it is unknown or expired.

        The name is `robot:NAME` or `robot$NAME`. RFC 7617 splits the former at the colon into the
        name `robot` and a password that begins with `NAME:`, which is accepted as well.
        """
        login = _split_login(name, password)
        if login is None:
            return None
        robot_name, secret = login
        robots = await self._file.now()
        robot = robots.get(robot_name)
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        is_right = hmac.compare_digest(digest, self._decoy if robot is None else robot.digest)
        if robot is None or not is_right or robot.is_expired(self._now()):
            return None
        return Actor(robot.login, generation=robot.generation)


def _split_login(name: str, password: str) -> tuple[str, str] | None:
    """Return the robot's own name and its secret; None if it is not the login of a robot."""
    if name == PREFIX:
        robot_name, colon, secret = password.partition(":")
        return (robot_name, secret) if colon else None
    for separator in SEPARATORS:
        prefix = f"{PREFIX}{separator}"
        if name.startswith(prefix):
            return name.removeprefix(prefix), password
    return None
