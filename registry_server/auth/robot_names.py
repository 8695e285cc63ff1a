"""What robots are called: `ci` where they are managed, `robot:ci` to rules and in tokens.

No user has a name of the latter kind, nor of `robot$ci`, by which a robot may log in as well: not
every client takes a name with a colon.
"""

from __future__ import annotations

import re

PREFIX = "robot"
SEPARATORS = (":", "$")
NAME = r"[a-z0-9][a-z0-9._-]{0,63}"

_NAME = re.compile(NAME, re.ASCII)
_LOGINS = tuple(f"{PREFIX}{separator}" for separator in SEPARATORS)


def is_robots(login: str) -> bool:
    """Tell whether a name is one that only a robot's key, or a token of ours, may make known."""
    return login.startswith(_LOGINS)


def is_robot_name(text: str) -> bool:
    """Tell whether a robot may be called so."""
    return _NAME.fullmatch(text) is not None


def check_robot_name(name: str) -> None:
    """Raise ValueError unless a robot may be called `name`."""
    if not is_robot_name(name):
        raise ValueError(
            "the name of a robot is up to 64 of a-z, 0-9, '.', '_' and '-', "
            "and begins with a letter or digit"
        )
