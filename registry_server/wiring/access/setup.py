"""Wiring of access: from settings to the access controller and the routes for tokens.

| configured        | callers                   | what they may do      | a 401 asks for          |
|-------------------|---------------------------|-----------------------|-------------------------|
| nothing           | all, anonymous            | everything            |                         |
| `auth.htpasswd`   | users of the file         | everything            | a name and a password   |
| `auth.token`      | clients with a token      | what the token grants | a token from its issuer |
| `access` (rules)  | users, robots, tokens     | what rules grant      | a token of the registry |
| both of the last  | clients with a token      | what both grant       | a token from its issuer |

Robots are managed by the users in `access.administrators`. Access control takes 0.15 s to import,
so `assembly` is imported only when access control is configured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import Route

from registry_server.access.interfaces import AccessController, OpenAccess
from registry_server.config import Settings
from registry_server.config.problems import Problem
from registry_server.v2.urls import Urls

if TYPE_CHECKING:
    from registry_server.api.application import Api

TOKEN_PATH = "/auth/token"  # noqa: S105 (a path)


@dataclass(frozen=True, slots=True)
class AccessSetup:
    """The access controller, the routes for tokens, and the management API."""

    access: AccessController
    routes: tuple[Route, ...] = ()
    api: Api | None = None


def assemble_access(settings: Settings, urls: Urls) -> AccessSetup:
    """Build the configured access control; the files of users and rules are read and watched.

    A missing signing key is created. Raises OSError or ValueError for an unusable file.
    """
    if not settings.has_access_control:
        return AccessSetup(OpenAccess())
    from registry_server.wiring.access import assembly

    return assembly.assemble(settings, urls)


def assemble_access_for_check(settings: Settings, urls: Urls) -> AccessSetup:
    """Do as `assemble_access`, but create no file: a temporary key replaces a missing one."""
    if not settings.has_access_control:
        return AccessSetup(OpenAccess())
    from registry_server.wiring.access import assembly

    return assembly.assemble(settings, urls, is_check=True)


def check(settings: Settings) -> tuple[Problem, ...]:
    """Read every file that `assemble_access` reads, and create none; return warnings about them.

    Raises OSError or ValueError for an unusable or missing file.
    """
    if not settings.has_access_control:
        return ()
    from registry_server.wiring.access import assembly

    return assembly.check(settings)


def check_before_start(settings: Settings) -> tuple[Problem, ...]:
    """Do as `check`, but return a warning for a missing file that `prepare` creates."""
    if not settings.has_access_control:
        return ()
    from registry_server.wiring.access import assembly

    return assembly.check_before_start(settings)


def prepare(settings: Settings) -> tuple[Problem, ...]:
    """Do as `check`, but create missing files: the signing key and the file of users."""
    if not settings.has_access_control:
        return ()
    from registry_server.wiring.access import assembly

    return assembly.prepare(settings)
