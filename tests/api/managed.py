"""Registries with administrators, and their clients."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support import users
from tests.support.servers import RegistryServer
from tests.support.wire import Answer

ROBOTS = "/api/v1/robots"
ANN, BOB = "ann's password", "bob's password"


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header with a name and a password."""
    shown = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {shown}"}


AS_ANN, AS_BOB = basic("ann", ANN), basic("bob", BOB)


def managed(folder: Path, **more: Any) -> dict[str, Any]:
    """Return a configuration with administrator ann; bob is a user without rights.

    The file of users is written to `folder`.
    """
    file = folder / "users"
    file.write_text(users.lines({"ann": ANN, "bob": BOB}))
    return {
        "version": "0.1",
        "auth": {"htpasswd": {"realm": "tests", "path": str(file)}},
        "access": {
            "rules": [{"repositories": ["team/**"], "users": ["robot:ci"], "actions": ["pull"]}],
            "administrators": {"users": ["ann", "robot:boss"]},
        },
        **more,
    }


def create(server: RegistryServer, body: Mapping[str, object], status: int = 201) -> Answer:
    """Create a robot as the administrator."""
    headers = AS_ANN | {"Content-Type": "application/json"}
    return server.wire.expect(status, "POST", ROBOTS, json.dumps(body).encode(), headers)


def key_of(answer: Answer) -> str:
    """Return the key of a new robot."""
    return str(json.loads(answer.body)["key"])
