"""Registries with users and rules, for tests that start servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import bcrypt

ANN, BOB = "ann's password", "bob's password"
RULES = [
    {"users": ["ann"], "actions": ["*"]},
    {"repositories": ["public/**"], "anonymous": True, "actions": ["pull"]},
    {"repositories": ["public/**"], "users": ["ann"], "actions": ["pull", "push"]},
    {"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["pull", "push"]},
]


def guarded_config(folder: Path, http: Mapping[str, object] | None = None) -> str:
    """Return a configuration: ann owns all, bob his home, everybody may pull what is public.

    The file of users is written to `folder`. Hashes are as cheap as there are.
    """
    users = folder / "users"
    users.write_bytes(_entry("ann", ANN) + _entry("bob", BOB))
    settings = {
        "version": "0.1",
        "auth": {"htpasswd": {"realm": "tests", "path": str(users)}},
        "access": {"rules": RULES},
        "http": dict(http or {}),
    }
    return json.dumps(settings)


def _entry(name: str, password: str) -> bytes:
    return name.encode() + b":" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)) + b"\n"
