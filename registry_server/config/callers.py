"""Names of callers as access rules spell them; a name that no caller can have is refused.

A denial for such a name would never match, so the intended caller would have access. A valid name
of a user that does not exist is accepted: the user may be added at any time.
"""

from registry_server.config.robot_names import PREFIX, SEPARATORS, check_robot_name, is_robot_name

EVERY_USER = "*"
ANONYMOUS = "anonymous"
_LONGEST = 255  # of a user, a group or a robot
_WILDCARDS = frozenset("*?{}")
_ROBOTS = tuple(f"{PREFIX}{separator}" for separator in SEPARATORS)


def plain_name(text: str) -> str:
    """Return `text` if it can be the name of a user or a group; otherwise raise ValueError."""
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise ValueError(
            f"must be a name of 1 to {_LONGEST} printable characters, without surrounding spaces"
        )
    return text


def caller_name(text: str) -> str:
    """Return `text` if rules may use it for a user or a robot; otherwise raise ValueError."""
    plain_name(text)
    if not _WILDCARDS.isdisjoint(text):
        raise ValueError("must be a name, not a pattern: list users in a group instead")
    if text.lower() == ANONYMOUS:
        raise ValueError("must be a name; for clients without a login write anonymous: true")
    if text.lower().startswith(_ROBOTS):
        _check_robot(text)
    return text


def robot_of_login(text: str) -> str:
    """Return the name that rules use for a login: `robot:ci` for `robot$ci`, others unchanged."""
    login = f"{PREFIX}$"
    name = text.removeprefix(login)
    return f"{PREFIX}:{name}" if text.startswith(login) and is_robot_name(name) else text


def _check_robot(text: str) -> None:
    """Raise ValueError unless `text` is `robot:NAME`.

    The message repeats only a name that fits the robot grammar, so it never shows a password.
    """
    if text.startswith(f"{PREFIX}:") and is_robot_name(text.removeprefix(f"{PREFIX}:")):
        return
    name = text[len(_ROBOTS[0]) :].lower()
    try:
        check_robot_name(name)
    except ValueError as error:
        raise ValueError(f"must be {PREFIX}:NAME, and {error}") from None
    raise ValueError(f"must be {PREFIX}:{name}, which is how rules name this robot")
