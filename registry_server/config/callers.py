"""Names of callers as rules spell them; a name that no caller can have is refused.

A denial for such a name would never match, and the caller that was meant would have access. Whether
a user of a valid name exists is another question: it may be added at any time.
"""

from registry_server.auth.robot_names import PREFIX, SEPARATORS, check_robot_name, is_robot_name

EVERYBODY = "*"
ANONYMOUS = "anonymous"
_LONGEST = 255  # of a user, a group or a robot
_WILDCARDS = frozenset("*?{}")
_ROBOTS = tuple(f"{PREFIX}{separator}" for separator in SEPARATORS)


def plain_name(text: str) -> str:
    """Return `text` if it can be the name of a user or a group; else raise ValueError."""
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise ValueError("must be a name: printable, without spaces around it, and not empty")
    return text


def caller_name(text: str) -> str:
    """Return `text` if a user or a robot can have that name in rules; else raise ValueError."""
    plain_name(text)
    if not _WILDCARDS.isdisjoint(text):
        raise ValueError("must be a name, not a pattern: list users in a group instead")
    if text.lower() == ANONYMOUS:
        raise ValueError("must be a name: for clients without a login a rule has anonymous: true")
    if text.lower().startswith(_ROBOTS):
        _check_robot(text)
    return text


def robot_of_login(text: str) -> str:
    """Return the name that rules have for a login: `robot:ci` for `robot$ci`, others unchanged."""
    login = f"{PREFIX}$"
    name = text.removeprefix(login)
    return f"{PREFIX}:{name}" if text.startswith(login) and is_robot_name(name) else text


def _check_robot(text: str) -> None:
    """Raise ValueError unless `text` is `robot:NAME`.

    The name is repeated only if it follows the grammar of robots: no password looks like that.
    """
    if text.startswith(f"{PREFIX}:") and is_robot_name(text.removeprefix(f"{PREFIX}:")):
        return
    name = text[len(_ROBOTS[0]) :].lower()
    try:
        check_robot_name(name)
    except ValueError as error:
        raise ValueError(f"must be {PREFIX}:NAME, and {error}") from None
    raise ValueError(f"must be {PREFIX}:{name}, the name that rules have for this robot")
