"""Users and their passwords, as tests have them."""

from __future__ import annotations

from collections.abc import Mapping

import bcrypt

from tests.support.secrets import keep


def hashed(password: str) -> str:
    """Hash a password as cheaply as can be; no log may tell it."""
    return bcrypt.hashpw(keep(password).encode(), bcrypt.gensalt(4)).decode()


def lines(passwords: Mapping[str, str]) -> str:
    """Return a file of users, by their names."""
    return "".join(f"{name}:{hashed(password)}\n" for name, password in passwords.items())
