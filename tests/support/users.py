"""Users and passwords for tests."""

from __future__ import annotations

from collections.abc import Mapping

import bcrypt

from tests.support.secrets import keep


def hashed(password: str) -> str:
    """Return the cheapest hash of a password; no log may contain the password."""
    return bcrypt.hashpw(keep(password).encode(), bcrypt.gensalt(4)).decode()


def lines(passwords: Mapping[str, str]) -> str:
    """Return a file of users with passwords, by name."""
    return "".join(f"{name}:{hashed(password)}\n" for name, password in passwords.items())
