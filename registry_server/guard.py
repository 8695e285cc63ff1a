"""Wiring of access: from settings to the access controller and the routes for tokens.

| configured        | who is known              | what they may do      | a 401 asks for          |
|-------------------|---------------------------|-----------------------|-------------------------|
| nothing           | no one                    | everything            |                         |
| `auth.htpasswd`   | users of the file         | everything            | a name and a password   |
| `auth.token`      | who brings a token        | what the token grants | a token from its issuer |
| `access` (rules)  | users, robots, tokens     | what rules grant      | a token from here       |
| both of the last  | who brings a token        | what both grant       | a token from its issuer |

Robots are managed by the users in `access.administrators`. Access control takes 0.15 s to import,
so `guarded` is imported only when access control is configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

from registry_server.auth.access import AccessController, OpenAccess
from registry_server.config import Settings
from registry_server.config.problems import Problem
from registry_server.v2.urls import Urls

if TYPE_CHECKING:
    from registry_server.api.application import Api

TOKEN_PATH = "/auth/token"  # noqa: S105 (a path)


@dataclass(frozen=True, slots=True)
class Guard:
    """Who decides, and what comes with it: routes for tokens, and the management API."""

    access: AccessController
    routes: tuple[Route, ...] = ()
    api: Api | None = None


def make_guard(settings: Settings, urls: Urls) -> Guard:
    """Assemble what the settings ask for; files are read, and those of users and rules watched.

    Raises OSError or ValueError for one that can't be used. A signing key is made if there is none.
    """
    if not settings.is_guarded:
        return Guard(OpenAccess())
    from registry_server import guarded

    return guarded.assemble(settings, urls)


def make_rehearsal_guard(settings: Settings, urls: Urls) -> Guard:
    """Do as `make_guard`, but create no file: a temporary key stands in for a missing one."""
    if not settings.is_guarded:
        return Guard(OpenAccess())
    from registry_server import guarded

    return guarded.assemble(settings, urls, is_rehearsal=True)


def check(settings: Settings) -> tuple[Problem, ...]:
    """Read every file that `make_guard` would, and create none; return warnings about them.

    Raises OSError or ValueError for one that cannot be used, or does not exist.
    """
    if not settings.is_guarded:
        return ()
    from registry_server import guarded

    return guarded.check(settings)


def check_before_start(settings: Settings) -> tuple[Problem, ...]:
    """Do as `check`, except that a file which `prepare` would create is a warning."""
    if not settings.is_guarded:
        return ()
    from registry_server import guarded

    return guarded.check_before_start(settings)


def prepare(settings: Settings) -> tuple[Problem, ...]:
    """Do as `check`, and create what is missing: the key for tokens, the file of users."""
    if not settings.is_guarded:
        return ()
    from registry_server import guarded

    return guarded.prepare(settings)
