"""Registries with users and rules, for tests that start servers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tests.support import users
from tests.support.secrets import keep

# The last one has what a configuration file, a header and a form have to quote, each in its way.
PASSWORDS = {
    "ann": "ann's password",
    "bob": "bob's password",
    "carol": "carol:s paß&w%rd+=☃",
}
ANN, BOB, CAROL = PASSWORDS.values()
WRONG = keep("nobody's password")
RULES = [
    {"users": ["ann"], "actions": ["*"]},
    {"repositories": ["public/**"], "anonymous": True, "actions": ["pull"]},
    {"repositories": ["public/**"], "users": ["ann"], "actions": ["pull", "push"]},
    {"repositories": ["home/{user}/**"], "users": ["*"], "actions": ["pull", "push"]},
    {"repositories": ["team/**"], "users": ["robot:ci"], "actions": ["pull"]},
]


def guarded_config(folder: Path, http: Mapping[str, object] | None = None) -> str:
    """Return a configuration: ann owns all, others a home; every client may pull public images.

    A robot `ci`, if it is created, may pull from the team. The file of users is written to
    `folder`, with the cheapest hashes.
    """
    file = folder / "users"
    file.write_text(users.lines(PASSWORDS))
    settings = {
        "version": "0.1",
        "auth": {"htpasswd": {"realm": "tests", "path": str(file)}},
        "access": {"rules": RULES},
        "http": dict(http or {}),
        # A detailed log has more places that could contain a secret.
        "log": {"level": "debug"},
    }
    return json.dumps(settings)
