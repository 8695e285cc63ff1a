"""Management of robot accounts: create, list, revoke."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from registry_server.access.robots.document import (
    MOST_ROBOTS,
    NO_ROBOTS,
    Robots,
    format_robots,
    parse_robots,
)
from registry_server.access.robots.robot import Robot, check_description
from registry_server.config.robot_names import check_robot_name
from registry_server.files.atomic_file import edit_file, make_folder
from storage.values.paths import ACCESS

_SECRET_PREFIX = "rk_"  # noqa: S105 - lets secret scanners find leaked keys
_SECRET_BYTES = 32


class RobotExists(Exception):
    """A robot of that name already exists."""


class TooManyRobots(ValueError):
    """The number of robots is at its limit."""


class RobotsDamaged(Exception):
    """The file of the robots is malformed; it is not overwritten either."""


@dataclass(frozen=True, slots=True)
class CreatedRobot:
    """A new robot and its secret, which is not stored."""

    robot: Robot
    secret: str = field(repr=False)


def robots_file(root: Path) -> Path:
    """Return the path of the robots' file in a root directory: outside docker/registry/v2."""
    return root / ACCESS / "robots.json"


class RobotStore:
    """Creates, lists and revokes robots. All methods block and raise OSError or `RobotsDamaged`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(
        self, name: str, expires: datetime | None = None, description: str = ""
    ) -> CreatedRobot:
        """Create a robot and its secret.

        Raises `RobotExists`, `TooManyRobots`, or another ValueError for an invalid argument.
        """
        check_robot_name(name)
        check_description(description)
        now = datetime.now(UTC).replace(microsecond=0)
        expiry = None if expires is None else expires.astimezone(UTC).replace(microsecond=0)
        if expiry is not None and expiry <= now:
            raise ValueError("the expiry of a robot must be in the future")
        secret = _new_secret()
        digest = hashlib.sha256(secret.encode("ascii")).digest()
        robot = Robot(name, digest, now, expiry, description)
        self._add(robot)
        return CreatedRobot(robot, secret)

    def list(self) -> list[Robot]:
        """Return all robots, expired ones too, in the order of their names."""
        try:
            robots = self._parse(self._path.read_bytes())
        except FileNotFoundError:
            return []
        return [robots[name] for name in sorted(robots)]

    def revoke(self, name: str) -> bool:
        """Remove a robot; return whether it existed."""
        existed = False

        def remove(content: bytes) -> bytes | None:
            nonlocal existed
            robots = dict(self._parse(content))
            existed = robots.pop(name, None) is not None
            return format_robots(robots) if existed else None

        with contextlib.suppress(FileNotFoundError):  # the folder is missing too
            edit_file(self._path, remove)
        return existed

    def _add(self, robot: Robot) -> None:
        def add(content: bytes) -> bytes:
            robots = self._parse(content)
            if robot.name in robots:
                raise RobotExists(f"robot {robot.name} already exists; revoke it first")
            if len(robots) >= MOST_ROBOTS:
                raise TooManyRobots(f"{MOST_ROBOTS} robots exist (the limit); revoke some first")
            return format_robots({**robots, robot.name: robot})

        make_folder(self._path.parent)
        edit_file(self._path, add)

    def _parse(self, content: bytes) -> Robots:
        try:
            return parse_robots(content) if content else NO_ROBOTS
        except ValueError as error:
            raise RobotsDamaged(f"{self._path} is damaged: {error}") from None


def _new_secret() -> str:
    random = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES))
    return _SECRET_PREFIX + random.rstrip(b"=").decode("ascii")
