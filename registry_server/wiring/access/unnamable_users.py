"""Warnings about users whose names no rule can contain.

They can log in, and rules for every user apply to them, but no rule can deny them anything by name.
A user with the name of a robot account can't log in if rules are configured.
"""

from __future__ import annotations

from collections.abc import Iterator

from registry_server.access.users.htpasswd_file import Fault, HtpasswdFile
from registry_server.config.callers import caller_name
from registry_server.config.robot_names import is_robots

_ROBOT = "has the name of a robot: with access rules no user logs in by it"
_OTHER = "has a name that no rule can have: only rules for every user apply to this one"


def unnamable(file: HtpasswdFile) -> Iterator[Fault]:
    """Yield a fault for each user that rules cannot name."""
    for name in file.users:
        if not _is_namable(name):
            yield Fault(file.lines[name], _ROBOT if is_robots(name) else _OTHER)


def _is_namable(name: str) -> bool:
    try:
        return bool(caller_name(name))
    except ValueError:
        return False
