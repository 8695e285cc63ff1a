"""Finds entries of access rules that can match no caller or no repository, given the groups.

An empty list is not reported: it visibly matches nothing.
"""

import difflib
from collections.abc import Collection, Iterator

from registry_server.config.access import (
    LONGEST_NAME,
    Access,
    Rule,
    RulesFile,
    is_component,
    sample,
)
from registry_server.config.callers import EVERY_USER
from registry_server.config.problems import Path, shown
from registry_server.config.robot_names import is_robots

_USER = "{user}"
_ANY_PARTS = "**"
_NOT_IN_FILE = (
    "cannot be a user name: in the file of auth.htpasswd a colon ends a name, and # begins a "
    "comment; write a robot as robot:NAME"
)


def unmatched_entries(
    access: Access | RulesFile, *, users_in_file: bool = False
) -> Iterator[tuple[Path, str]]:
    """Yield the path of each such entry, relative to `access`, and what is wrong with it.

    With `users_in_file` all users are in the file of `auth.htpasswd`, where a colon ends a name.
    """
    groups = access.groups
    if users_in_file:
        for path, name in caller_names(access):
            if not is_robots(name) and (":" in name or name.startswith("#")):
                yield path, _NOT_IN_FILE
    for at, rule in enumerate(access.rules or ()):
        for path, text in (*_unknown(rule.groups or (), groups), *_unbound(rule, groups)):
            yield ("rules", at, *path), text
    for path, text in _unknown(access.administrators.groups, groups):
        yield ("administrators", *path), text


def caller_names(rules: Access | RulesFile) -> Iterator[tuple[Path, str]]:
    """Yield the path and the name of each user or robot."""
    for group, members in rules.groups.items():
        yield from ((("groups", group, at), name) for at, name in enumerate(members))
    for number, rule in enumerate(rules.rules or ()):
        for at, name in enumerate(rule.users or ()):
            if name != EVERY_USER:
                yield ("rules", number, "users", at), name
    for at, name in enumerate(rules.administrators.users):
        yield ("administrators", "users", at), name


def _unknown(named: Collection[str], groups: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Yield the groups that are not defined; credentials carry no groups, so these are empty."""
    for at, name in enumerate(named):
        if name not in groups:
            near = difflib.get_close_matches(name, groups, n=1)
            hint = (
                f"did you mean {shown(near[0])}?" if near else "define it, with [] if it is empty"
            )
            yield ("groups", at), f"is not defined in groups: {hint}"


def _unbound(rule: Rule, groups: dict[str, tuple[str, ...]]) -> Iterator[tuple[Path, str]]:
    """Yield users that match with no glob of the rule, and globs that match with no caller."""
    globs, users = rule.repositories, rule.users or ()
    for at, user in enumerate(users):
        if globs and not any(is_matchable(glob, user) for glob in globs):
            yield ("users", at), f"cannot replace {_USER}: it is not valid in a repository name"
    if EVERY_USER in users or rule.anonymous:
        return
    callers = {*users, *(name for group in rule.groups or () for name in groups.get(group, ()))}
    for at, glob in enumerate(globs):
        if callers and not any(is_matchable(glob, caller) for caller in callers):
            text = f"matches nothing: no name of the rule's callers can replace {_USER}"
            yield ("repositories", at), text


def is_matchable(glob: str, user: str) -> bool:
    """Return whether a glob can match a repository name when `user` replaces `{user}`."""
    if _USER not in glob.split("/") or user == EVERY_USER:
        return True
    return is_component(user) and len(sample_name(glob, user)) <= LONGEST_NAME


def sample_name(glob: str, user: str) -> str:
    """Return a name that a glob matches when `user` replaces `{user}`; it may be too long."""
    parts = glob.split("/")
    kept = [user if part == _USER else part for part in parts if part != _ANY_PARTS]
    if parts[-1] == _ANY_PARTS:
        kept.append("a")
    return "/".join(sample(part) for part in kept)
