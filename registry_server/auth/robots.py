"""Robot keys: names and secrets for machines, made by an operator, which end at a set time.

    <rootdirectory>/access/robots.json     {"version": 1, "robots": [{name, hash, created, ...}]}

The file is only ever replaced whole. Servers watch it, so a key that is revoked is refused within
a second or two, by all of them.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from registry_server.auth.access import Actor
from registry_server.auth.watched import Watched

logger = logging.getLogger(__name__)

_PREFIX = "robot"
# Not every client takes a name with a colon.
_SEPARATORS = (":", "$")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_SECRET_PREFIX = "rk_"  # noqa: S105 - so that a scanner of sources finds one that was leaked
_SECRET_BYTES = 32
_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_LONGEST_DESCRIPTION = 256
_MOST_ROBOTS = 10_000
_LARGEST = 16 << 20
_VERSION = 1
_PAUSE = 1.0  # seconds between two looks at the file


class RobotExists(Exception):
    """There is a robot of that name."""


class RobotsDamaged(Exception):
    """The file of the robots can't be read, so it is not written either."""


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot, and the SHA-256 of its secret.

    A plain hash is enough: the secret is 256 random bits, so there is nothing to guess, which is
    what bcrypt makes slow; and the hash is checked with each request of a build.
    """

    name: str
    digest: bytes = field(repr=False)
    created: datetime
    expires: datetime | None = None
    description: str = ""

    @property
    def login(self) -> str:
        """The name it is known by to rules and in logs."""
        return f"{_PREFIX}:{self.name}"

    def is_expired(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.expires is not None and now >= self.expires


Robots: TypeAlias = Mapping[str, Robot]
_NONE: Robots = MappingProxyType({})


def robots_file(root: Path) -> Path:
    """Return where the robots of a root directory are kept: outside of docker/registry/v2."""
    return root / "access" / "robots.json"


def check_robot_name(name: str) -> None:
    """Raise ValueError unless a robot may be called `name`."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "the name of a robot is up to 64 of a-z, 0-9, '.', '_' and '-', "
            "and begins with a letter or digit"
        )


def check_description(text: str) -> None:
    """Raise ValueError unless `text` can be shown in one line."""
    if len(text) > _LONGEST_DESCRIPTION or not text.isprintable():
        raise ValueError(f"a description is one line of up to {_LONGEST_DESCRIPTION} characters")


def parse_robots(content: bytes) -> Robots:
    """Read the file; raise ValueError, with nothing of what it says, when it can't be used."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise ValueError(f"it is not a list of robots of version {_VERSION}")
    listed = document.get("robots")
    if not isinstance(listed, list) or len(listed) > _MOST_ROBOTS:
        raise ValueError(f"it has no list of up to {_MOST_ROBOTS} robots")
    robots: dict[str, Robot] = {}
    for number, entry in enumerate(listed, start=1):
        robot = _parse_robot(number, entry)
        if robot.name in robots:
            raise ValueError(f"robot {number} has the name of an earlier one")
        robots[robot.name] = robot
    return MappingProxyType(robots)


def format_robots(robots: Robots) -> bytes:
    """Write robots so that `parse_robots` reads the same ones."""
    listed = [_plain(robots[name]) for name in sorted(robots)]
    document = {"version": _VERSION, "robots": listed}
    return (json.dumps(document, indent=2) + "\n").encode("ascii")


def _parse_robot(number: int, entry: object) -> Robot:
    try:
        if not isinstance(entry, dict):
            raise TypeError
        name, hash = entry["name"], entry["hash"]
        description, expires = entry.get("description", ""), entry.get("expires")
        check_robot_name(name)
        check_description(description)
        if _HASH.fullmatch(hash) is None:
            raise ValueError
        digest = bytes.fromhex(hash.partition(":")[2])
        ends = None if expires is None else _moment(expires)
        return Robot(name, digest, _moment(entry["created"]), ends, description)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"robot {number} can't be read") from None


def _plain(robot: Robot) -> dict[str, object]:
    return {
        "name": robot.name,
        "hash": f"sha256:{robot.digest.hex()}",
        "created": format_moment(robot.created),
        "expires": None if robot.expires is None else format_moment(robot.expires),
        "description": robot.description,
    }


def format_moment(moment: datetime) -> str:
    """Write a time in whole seconds of UTC (RFC 3339)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)


class RobotsFile(Watched[Robots]):
    """The file as servers see it: when there is none, there are no robots."""

    _ABSENT = (0, 0, 0, 0)

    def __init__(self, path: Path, pause: float = _PAUSE) -> None:
        """Read the file if there is one; raise OSError or ValueError as `Watched` (blocks)."""
        # As `Watched` begins, which wants a file.
        self._value = _NONE
        self._state = self._ABSENT
        self._looked = 0.0
        with contextlib.suppress(FileNotFoundError):
            super().__init__(path, parse_robots, pause)

    def _look(self) -> None:
        try:
            os.stat(self._path)
        except FileNotFoundError:
            # Who removes the file does not want its keys to stay in force.
            if self._state != self._ABSENT:
                logger.warning("%s is gone, and all robots with it", self._path)
            self._state, self._value = self._ABSENT, _NONE
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

    async def is_known(self, login: str, issued: float) -> bool:
        """Tell whether there is a robot that rules know by `login`, and it has not expired.

        One that was made after a token was `issued` is another one of that name.
        """
        robot = (await self._file.now()).get(login.removeprefix(f"{_PREFIX}:"))
        if robot is None or robot.login != login or robot.is_expired(self._now()):
            return False
        return robot.created.timestamp() <= issued

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
        return Actor(robot.login)


def _split_login(name: str, password: str) -> tuple[str, str] | None:
    """Return the robot's own name and its secret; None when it is not a robot who asks."""
    if name == _PREFIX:
        robot_name, colon, secret = password.partition(":")
        return (robot_name, secret) if colon else None
    for separator in _SEPARATORS:
        prefix = f"{_PREFIX}{separator}"
        if name.startswith(prefix):
            return name.removeprefix(prefix), password
    return None


class RobotStore:
    """Makes, lists and revokes robots. Everything here blocks.

    Raises OSError when the disk refuses, and `RobotsDamaged`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self, name: str, expires: datetime | None = None, description: str = "") -> str:
        """Make a robot and return its secret, which is kept nowhere.

        Raises `RobotExists`, or ValueError when it can't be made so.
        """
        check_robot_name(name)
        check_description(description)
        now = _now().replace(microsecond=0)
        ends = None if expires is None else expires.astimezone(UTC).replace(microsecond=0)
        if ends is not None and ends <= now:
            raise ValueError("a robot can't expire before it is made")
        secret = _new_secret()
        digest = hashlib.sha256(secret.encode("ascii")).digest()
        self._add(Robot(name, digest, now, ends, description))
        return secret

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
            if len(robots) >= _MOST_ROBOTS:
                raise ValueError(f"there are {_MOST_ROBOTS} robots; revoke some first")
            return format_robots({**robots, robot.name: robot})

        _make_folder(self._path.parent)
        edit_file(self._path, with_it)

    def _parse(self, content: bytes) -> Robots:
        try:
            return parse_robots(content) if content else _NONE
        except ValueError as error:
            raise RobotsDamaged(f"{self._path} can't be used: {error}") from None


def _new_secret() -> str:
    random = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES))
    return _SECRET_PREFIX + random.rstrip(b"=").decode("ascii")


def edit_file(path: Path, edit: Callable[[bytes], bytes | None]) -> None:
    """Replace a file by what `edit` makes of it, in one instant, one caller after the other.

    `edit` gets nothing when there is no file, and leaves all as it is by returning None. Mode and
    owner are kept; a new file can be read by the folder's owner alone. Raises OSError, and what
    `edit` raises.
    """
    with _locked(path.parent) as folder:
        content, found = _read(folder, path.name)
        changed = edit(content)
        if changed is not None:
            _replace(folder, path.name, changed, found)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold a folder, as long as nobody else does: no lock file is left beside what it guards."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> tuple[bytes, os.stat_result | None]:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        return b"", None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{name} is not a file")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(f"{name} is larger than 16 MiB")
    return content, found


def _replace(folder: int, name: str, content: bytes, found: os.stat_result | None) -> None:
    temporary = f".{name}.{uuid.uuid4().hex}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            _give(fd, found or os.fstat(folder), is_new=found is None)
            os.fsync(fd)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(temporary, dir_fd=folder)
        raise
    os.fsync(folder)


def _give(fd: int, owner: os.stat_result, *, is_new: bool) -> None:
    """Give a file the owner and the mode of the one it replaces.

    A new one is its maker's own, unless that is root: then it is the folder's owner who serves.
    """
    ours = os.fstat(fd)
    if (not is_new or os.geteuid() == 0) and _owner(ours) != _owner(owner):
        os.fchown(fd, *_owner(owner))
    os.fchmod(fd, 0o600 if is_new else stat.S_IMODE(owner.st_mode))


def _owner(found: os.stat_result) -> tuple[int, int]:
    return found.st_uid, found.st_gid


def _make_folder(path: Path) -> None:
    """Make the folder of the robots if it is not there; what it is in exists."""
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir(path.name, 0o700, dir_fd=above)
        if os.geteuid() == 0:
            os.chown(path.name, *_owner(os.fstat(above)), dir_fd=above, follow_symlinks=False)
        os.fsync(above)
    except FileExistsError:
        pass
    finally:
        os.close(above)
