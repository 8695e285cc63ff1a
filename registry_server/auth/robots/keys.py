"""The robots as servers see them: who is let in by which key."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from registry_server.auth.access import Actor
from registry_server.auth.robot_names import PREFIX, SEPARATORS
from registry_server.auth.robots.document import NO_ROBOTS, Robots, parse_robots
from registry_server.auth.watched import Watched, state_of

logger = logging.getLogger(__name__)


class RobotsFile(Watched[Robots]):
    """The file as servers see it: when there is none, there are no robots."""

    _ABSENT = (0, 0, 0, 0)

    def __init__(self, path: Path) -> None:
        """Read the file if there is one; raise OSError or ValueError as `Watched` (blocks)."""
        # As `Watched` begins, which wants a file.
        self._value = NO_ROBOTS
        self._state = self._ABSENT
        self._looked = 0.0
        with contextlib.suppress(FileNotFoundError):
            super().__init__(path, parse_robots)

    async def now(self) -> Robots:
        """Return the robots as they are at this moment, as far as the file can be used.

        A key that was just made is shown to any worker, and one that was revoked is leaked, so no
        time may pass. The file lies in the root: to look whether it has changed is what is done
        for each link of the storage, on the event loop as well.
        """
        if self._has_changed():
            await asyncio.to_thread(self._look_in_turn)
        return self._value

    def _has_changed(self) -> bool:
        try:
            return state_of(self._path) != self._state
        except FileNotFoundError:
            return self._state != self._ABSENT
        except OSError:
            return True

    def _look_in_turn(self) -> None:
        # Who looks now must not be answered by a look that began before.
        with self._looking:
            self._look()

    def _look(self) -> None:
        try:
            os.stat(self._path)
        except FileNotFoundError:
            # Who removes the file does not want its keys to stay in force.
            if self._state != self._ABSENT:
                logger.warning("%s is gone, and all robots with it", self._path)
            self._state, self._value = self._ABSENT, NO_ROBOTS
        except OSError:
            super()._look()
        else:
            super()._look()


def _now() -> datetime:
    return datetime.now(UTC)


class RobotKeys:
    """The robots of a file that is watched; implements `Credentials`."""

    def __init__(self, file: RobotsFile, now: Callable[[], datetime] = _now) -> None:
        self._file = file
        self._now = now
        # What an unknown name is compared with, so that it takes as long as a known one.
        self._nobody = secrets.token_bytes(hashlib.sha256().digest_size)

    async def is_known(self, login: str, generation: str) -> bool:
        """Tell whether there is the robot that rules know by `login`, and it has not expired.

        One of another `generation` is another robot of that name.
        """
        robot = (await self._file.now()).get(login.removeprefix(f"{PREFIX}:"))
        if robot is None or robot.login != login or robot.is_expired(self._now()):
            return False
        return robot.generation == generation

    async def verify(self, name: str, password: str) -> Actor | None:
        """Return the robot of that login name and secret; None if there is none, or no longer.

        The name is `robot:NAME` or `robot$NAME`. Of the former RFC 7617 makes the name `robot`
        and a password that begins with `NAME:`, which is understood as well.
        """
        login = _split_login(name, password)
        if login is None:
            return None
        robot_name, secret = login
        robots = await self._file.now()
        robot = robots.get(robot_name)
        shown = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        is_right = hmac.compare_digest(shown, self._nobody if robot is None else robot.digest)
        if robot is None or not is_right or robot.is_expired(self._now()):
            return None
        return Actor(robot.login, generation=robot.generation)


def _split_login(name: str, password: str) -> tuple[str, str] | None:
    """Return the robot's own name and its secret; None when it is not a robot who asks."""
    if name == PREFIX:
        robot_name, colon, secret = password.partition(":")
        return (robot_name, secret) if colon else None
    for separator in SEPARATORS:
        prefix = f"{PREFIX}{separator}"
        if name.startswith(prefix):
            return name.removeprefix(prefix), password
    return None
