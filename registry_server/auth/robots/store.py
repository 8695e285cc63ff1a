"""The robots as those see them who manage them."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from registry_server.auth.edited import edit_file, make_folder
from registry_server.auth.robot_names import check_robot_name
from registry_server.auth.robots.document import (
    MOST_ROBOTS,
    NO_ROBOTS,
    Robots,
    format_robots,
    parse_robots,
)
from registry_server.auth.robots.robot import Robot, check_description
from storage.paths import ACCESS

_SECRET_PREFIX = "rk_"  # noqa: S105 - so that a scanner of sources finds one that was leaked
_SECRET_BYTES = 32


class RobotExists(Exception):
    """There is a robot of that name."""


class TooManyRobots(ValueError):
    """There are as many robots as there may be."""


class RobotsDamaged(Exception):
    """The file of the robots can't be read, so it is not written either."""


@dataclass(frozen=True, slots=True)
class CreatedRobot:
    """A robot that was just made, and its secret, which is kept nowhere."""

    robot: Robot
    secret: str = field(repr=False)


def robots_file(root: Path) -> Path:
    """Return where the robots of a root directory are kept: outside of docker/registry/v2."""
    return root / ACCESS / "robots.json"


class RobotStore:
    """Makes, lists and revokes robots. Everything here blocks.

    Raises OSError when the disk refuses, and `RobotsDamaged`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        """Make a robot, and its secret.

        Raises `RobotExists`, or ValueError when it can't be made so: `TooManyRobots` is one.
        """
        check_robot_name(name)
        check_description(description)
        now = datetime.now(UTC).replace(microsecond=0)
        ends = None if expires is None else expires.astimezone(UTC).replace(microsecond=0)
        if ends is not None and ends <= now:
            raise ValueError("a robot can't expire before it is made")
        secret = _new_secret()
        digest = hashlib.sha256(secret.encode("ascii")).digest()
        robot = Robot(name, digest, now, ends, description)
        self._add(robot)
        return CreatedRobot(robot, secret)

    def list(self) -> list[Robot]:
        """Return all robots by name, those that are expired as well."""
        try:
            robots = self._parse(self._path.read_bytes())
        except FileNotFoundError:
            return []
        return [robots[name] for name in sorted(robots)]

    def revoke(self, name: str) -> bool:
        """Remove a robot; return whether there was one."""
        was_there = False

        def without(content: bytes) -> bytes | None:
            nonlocal was_there
            robots = dict(self._parse(content))
            was_there = robots.pop(name, None) is not None
            return format_robots(robots) if was_there else None

        with contextlib.suppress(FileNotFoundError):  # not even the folder
            edit_file(self._path, without)
        return was_there

    def _add(self, robot: Robot) -> None:
        def with_it(content: bytes) -> bytes:
            robots = self._parse(content)
            if robot.name in robots:
                raise RobotExists(f"there is a robot {robot.name}; revoke it first")
            if len(robots) >= MOST_ROBOTS:
                raise TooManyRobots(f"there are {MOST_ROBOTS} robots; revoke some first")
            return format_robots({**robots, robot.name: robot})

        make_folder(self._path.parent)
        edit_file(self._path, with_it)

    def _parse(self, content: bytes) -> Robots:
        try:
            return parse_robots(content) if content else NO_ROBOTS
        except ValueError as error:
            raise RobotsDamaged(f"{self._path} can't be used: {error}") from None


def _new_secret() -> str:
    random = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES))
    return _SECRET_PREFIX + random.rstrip(b"=").decode("ascii")
