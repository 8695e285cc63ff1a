"""Warnings about names in rules that no caller has.

They are warnings, not errors, because a user may be added after the rules. But a denial for a
misspelt name has no effect, and only a comparison with the file of users reveals it. Robot accounts
are not compared: they are created while the registry serves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from registry_server.access.rules import read_rules
from registry_server.config import Settings
from registry_server.config.access import Access, RulesFile
from registry_server.config.problems import Path, Place, Problem, dotted
from registry_server.config.robot_names import is_robots
from registry_server.config.rule_checks import caller_names
from registry_server.files.watched_file import read_small
from registry_server.wiring.access.users import users_file

_MOST_WARNINGS = 20


def unknown_callers(settings: Settings, users: Collection[str]) -> tuple[Problem, ...]:
    """Return a warning for each name in rules that no caller has, at most 20.

    `users` are those of `auth.htpasswd`. Raises OSError or ValueError for unusable rules.
    """
    access = settings.access
    if not access.configured:
        return ()
    rules = (
        access
        if access.file is None
        else read_rules(read_small(access.file), users_in_file=settings.users_in_file)
    )
    above, source = ((), str(access.file)) if access.file is not None else (("access",), "")
    unknown = _without_caller(settings, rules, users)
    warnings = (Problem(Place(source), dotted((*above, *path)), why) for path, why in unknown)
    return tuple(islice(warnings, _MOST_WARNINGS))


def _without_caller(
    settings: Settings, rules: Access | RulesFile, users: Collection[str]
) -> Iterator[tuple[Path, str]]:
    """Yield the first place of each name without a caller, and why no caller has it."""
    places: dict[str, Path] = {}
    for path, name in caller_names(rules):
        places.setdefault(name, path)
    for name, path in places.items():
        reason = _why_unknown(settings, name, rules.groups, users)
        if reason:
            yield path, reason


def _why_unknown(
    settings: Settings, name: str, groups: Collection[str], users: Collection[str]
) -> str:
    """Return why no caller has a name; "" if one may have it."""
    if name in users:
        return ""
    if name in groups:
        return "is the name of a group, but a user is expected here: groups do not nest"
    if settings.auth.token is not None:
        return "has no effect: with auth.token there are no robots" if is_robots(name) else ""
    if is_robots(name) or settings.access.certificates:
        return ""
    file = users_file(settings)
    if file is None:
        return "has no effect: without auth.htpasswd and access.certificates only robots log in"
    return f"has no effect until {file} has a user of that name"
