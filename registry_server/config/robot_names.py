"""Names of robot accounts: `ci` in management commands, `robot:ci` in rules and tokens.

A robot account may also log in as `robot$ci`, because some clients accept no colon in a name. User
names of either form are reserved.
"""

from __future__ import annotations

import re

PREFIX = "robot"
SEPARATORS = (":", "$")
NAME = r"[a-z0-9][a-z0-9._-]{0,63}"

_NAME = re.compile(NAME, re.ASCII)
_LOGINS = tuple(f"{PREFIX}{separator}" for separator in SEPARATORS)


def is_robots(login: str) -> bool:
    """Return whether a login name is reserved for robot accounts."""
    return login.startswith(_LOGINS)


def is_robot_name(text: str) -> bool:
    """Return whether `text` is a valid name of a robot account."""
    return _NAME.fullmatch(text) is not None


def check_robot_name(name: str) -> None:
    """Raise ValueError unless `name` is a valid name of a robot account."""
    if not is_robot_name(name):
        raise ValueError(
            "the name of a robot is up to 64 of a-z, 0-9, '.', '_' and '-', "
            "and begins with a letter or digit"
        )
