"""Users of `auth.htpasswd`, and the limits of wrong passwords."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from registry_server.access.users.htpasswd import HtpasswdUsers
from registry_server.access.users.htpasswd_file import watch_htpasswd
from registry_server.config import Settings
from registry_server.http.clients import client_address
from registry_server.limits import LoginLimits


def users_file(settings: Settings) -> Path | None:
    """Return the path of the file of users, or None if none is configured."""
    htpasswd = settings.auth.htpasswd
    return None if htpasswd is None else htpasswd.path


def users_of(settings: Settings) -> list[HtpasswdUsers]:
    """Return the users of the watched file; an empty list if no file is configured."""
    path = users_file(settings)
    return [] if path is None else [HtpasswdUsers(watch_htpasswd(path))]


def login_limits(settings: Settings) -> LoginLimits:
    """Return the limits of wrong passwords, counted per client address."""
    logins = settings.limits.logins
    address = partial(client_address, trusted=settings.http.trusted)
    return LoginLimits(logins.failures, logins.window.total_seconds(), address)
