"""A mount without `from` evaluates rules for many repositories without blocking the loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import HTTPConnection, Request

from registry_server.access.interfaces import Action, OpenAccess
from registry_server.v2 import gate as gate_module
from registry_server.v2.gate import Gate
from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values.names import RepositoryName
from tests.storage.content import LAYER, name, push_blob

REPOSITORIES = 10
SEARCHES = 5
AT_ONCE = 2


class Refusing(OpenAccess):
    """Refuses each repository; counts its calls since the loop's last turn."""

    now = most = total = 0

    async def may(self, connection: HTTPConnection, name: RepositoryName, action: Action) -> bool:
        """Refuse."""
        self.now += 1
        self.total += 1
        self.most = max(self.most, self.now)
        return False

    async def count(self) -> None:
        """Reset the count in each turn of the loop."""
        while True:
            self.now = 0
            await asyncio.sleep(0)


async def test_few_repositories_are_decided_in_one_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many have the blob, and however many clients search for it concurrently."""
    monkeypatch.setattr(gate_module, "DECIDED_PER_TURN", AT_ONCE)
    access = Refusing()
    driver = await asyncio.to_thread(FilesystemDriver, tmp_path)
    registry = StoredRegistry(driver)
    for number in range(REPOSITORIES):
        digest = await push_blob(registry.repository(name(f"app{number}")), LAYER)
    gate, request = Gate(registry, access), Request({"type": "http"})
    counting = asyncio.create_task(access.count())
    searches = [gate.mount_source(request, digest, None) for _ in range(SEARCHES)]
    assert await asyncio.gather(*searches) == [None] * SEARCHES
    counting.cancel()
    await driver.close()
    assert access.total == REPOSITORIES * SEARCHES
    assert access.most <= 2 * AT_ONCE  # one search may end in the turn in which another begins
