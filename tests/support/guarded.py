"""Registries with users and rules, for tests that start servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import bcrypt

# The last one has what a configuration file, a header and a form have to quote, each in its way.
PASSWORDS = {
    "ann": "ann's password",
    "bob": "bob's password",
    "carol": "carol:s paß&w%rd+=☃",
}
ANN, BOB, CAROL = PASSWORDS.values()
WRONG = "nobody's password"
RULES = [
    {"users": ["ann"], "actions": ["*"]},
    {"repositories": ["public/**"], "anonymous": True, "actions": ["pull"]},
    {"repositories": ["public/**"], "users": ["ann"], "actions": ["pull", "push"]},
    {"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["pull", "push"]},
    {"repositories": ["team/**"], "users": ["robot:ci"], "actions": ["pull"]},
]


def guarded_config(folder: Path, http: Mapping[str, object] | None = None) -> str:
    """Return a configuration: ann owns all, others a home, everybody may pull what is public.

    A robot `ci`, if one is made, may pull from the team. The file of users is written to `folder`.
    Hashes are as cheap as there are.
    """
    users = folder / "users"
    users.write_bytes(b"".join(_entry(*pair) for pair in PASSWORDS.items()))
    settings = {
        "version": "0.1",
        "auth": {"htpasswd": {"realm": "tests", "path": str(users)}},
        "access": {"rules": RULES},
        "http": dict(http or {}),
    }
    return json.dumps(settings)


def _entry(name: str, password: str) -> bytes:
    return name.encode() + b":" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)) + b"\n"
