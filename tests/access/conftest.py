"""A registry with rules, over a storage that several configurations share."""

from __future__ import annotations

import base64
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from tests.support import users
from tests.support.app import serve_in_process
from tests.support.drivers import AnyDriver

PASSWORDS = {
    name: f"the password of {name}" for name in ("reader", "writer", "other", "admin", "carol")
}
# The same for the whole run.
USERS = users.lines(PASSWORDS)
# Every user may do everything at home; `other` and `carol` have only the rights of every caller.
RULES: tuple[Mapping[str, object], ...] = (
    {"repositories": ["team/**"], "users": ["reader"], "actions": ["pull", "catalog"]},
    {"repositories": ["team/**"], "users": ["writer"], "actions": ["pull", "push"]},
    {
        "repositories": ["home/{user}/**"],
        "users": ["*"],
        "actions": ["pull", "push", "overwrite", "delete"],
    },
    {"repositories": ["public/**"], "anonymous": True, "actions": ["pull"]},
    {
        "repositories": ["team/**", "home/**", "public/**", "**"],
        "users": ["admin"],
        "actions": ["*"],
    },
)
DELETABLE = {"storage": {"delete": {"enabled": True}}}


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a registry for users and tokens."""

    folder: Path

    @property
    def root(self) -> Path:
        """The root directory, which need not have the content."""
        return self.folder / "root"

    @property
    def users(self) -> Path:
        """The file of users."""
        return self.folder / "users"

    @property
    def key(self) -> Path:
        """The signing key, once a registry has been served."""
        return self.root / "access" / "token-key.pem"

    @property
    def robots(self) -> Path:
        """The file of the robot accounts."""
        return self.root / "access" / "robots.json"

    def settings(self, more: Mapping[str, Any]) -> Settings:
        """Return settings with the users and rules above, and `more`."""
        storage = {"filesystem": {"rootdirectory": self.root}, **more.get("storage", {})}
        base = {
            "auth": {"htpasswd": {"realm": "tests", "path": self.users}},
            "access": {"rules": RULES, "administrators": {"users": ["admin"]}},
            # Many passwords are wrong here on purpose.
            "limits": {"logins": {"failures": 0}},
        }
        return validated(Settings, {**base, **more, "storage": storage})


Guarded: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[httpx.AsyncClient]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write the file of users."""
    made = Files(tmp_path)
    made.root.mkdir()
    made.users.write_text(USERS)
    return made


@pytest.fixture
async def guarded(files: Files, driver: AnyDriver) -> AsyncIterator[Guarded]:
    """Serve one storage under different settings."""
    async with AsyncExitStack() as stack:

        async def start(more: Mapping[str, Any]) -> httpx.AsyncClient:
            settings = await to_thread(files.settings, more)
            return await stack.enter_async_context(serve_in_process(settings, driver))

        yield start


def basic(name: str, password: str = "") -> dict[str, str]:
    """Return the header with a name and a password, by default the user's own."""
    shown = f"{name}:{password or PASSWORDS[name]}".encode()
    return {"Authorization": f"Basic {base64.b64encode(shown).decode()}"}


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}
