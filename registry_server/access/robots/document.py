"""The format of the robots' file.

{"version": 1, "robots": [{name, hash, created, expires, description}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeAlias

from registry_server.access.robots.robot import Robot, check_description
from registry_server.config.robot_names import check_robot_name

MOST_ROBOTS = 10_000
_HASH = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_VERSION = 1

Robots: TypeAlias = Mapping[str, Robot]
NO_ROBOTS: Robots = MappingProxyType({})


def parse_robots(content: bytes) -> Robots:
    """Parse the file; raise ValueError if it is malformed, with a message that never quotes it."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise ValueError(f"it is not a list of robots of version {_VERSION}")
    entries = document.get("robots")
    if not isinstance(entries, list) or len(entries) > MOST_ROBOTS:
        raise ValueError(f"it has no list of up to {MOST_ROBOTS} robots")
    robots: dict[str, Robot] = {}
    for number, entry in enumerate(entries, start=1):
        robot = _parse_robot(number, entry)
        if robot.name in robots:
            raise ValueError(f"robot {number} has the name of an earlier one")
        robots[robot.name] = robot
    return MappingProxyType(robots)


def format_robots(robots: Robots) -> bytes:
    """Return the content of the file; the inverse of `parse_robots`."""
    entries = [_plain(robots[name]) for name in sorted(robots)]
    document = {"version": _VERSION, "robots": entries}
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
        expiry = None if expires is None else _moment(expires)
        return Robot(name, digest, _moment(entry["created"]), expiry, description)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"robot {number} is malformed") from None


def _plain(robot: Robot) -> dict[str, object]:
    return {
        "name": robot.name,
        "hash": f"sha256:{robot.digest.hex()}",
        "created": format_moment(robot.created),
        "expires": None if robot.expires is None else format_moment(robot.expires),
        "description": robot.description,
    }


def format_moment(moment: datetime) -> str:
    """Return a time in UTC with whole seconds (RFC 3339)."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)
