"""The cost of listing referrers for expensive requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from registry_server.config import Settings
from registry_server.wiring.app import build
from storage.content import referrer_store
from storage.drivers.filesystem.driver import FilesystemDriver
from tests.http1.serving import Client, served
from tests.storage.read_counter import Pause, ReadCounter
from tests.support.app import serve_in_process
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.pushes import BASE, DIGEST, MANIFEST, artifact, push_image, push_manifest
from tests.v2.test_listings import next_page

REFERRERS = f"{BASE}/referrers/{DIGEST}"


async def _push(driver: FilesystemDriver, *types: str) -> set[str]:
    """Push the subject and a referrer of each type, in another process."""
    async with serve_in_process(Settings(), driver) as client:
        await push_image(client)
        return {await _refer(client, kind, number) for number, kind in enumerate(types)}


async def _refer(client: httpx.AsyncClient, kind: str, number: int) -> str:
    raw = artifact(MANIFEST, kind, {"n": str(number), "x": "x" * 1000})
    await push_manifest(client, sha256(raw), raw, OCI_MANIFEST)
    return sha256(raw)


@pytest.fixture
def new_files(tmp_path: Path) -> FilesystemDriver:
    """Return a driver."""
    return FilesystemDriver(tmp_path, sync=False, threads=4)


@pytest.mark.parametrize(("kind", "count"), [("zzz", 0), ("a", 5), ("b", 15)])
async def test_a_filter_is_answered_in_pages_that_read_little(
    new_files: FilesystemDriver, monkeypatch: pytest.MonkeyPatch, kind: str, count: int
) -> None:
    """Each page says that the filter was applied; an empty one has a next page; none is lost."""
    await _push(new_files, *"abbb" * 5)
    monkeypatch.setattr(referrer_store, "READ_BYTES", 4_000)
    counter = ReadCounter(new_files)
    async with serve_in_process(Settings(), counter) as client:
        await client.get(f"{BASE}/referrers/sha256:{'0' * 64}")  # fills the cache of subjects
        following: str | None = f"{REFERRERS}?artifactType={kind}"
        found, pages = [], 0
        while following is not None:
            counter.reset()
            response = await client.get(following)
            assert response.headers["OCI-Filters-Applied"] == "artifactType"
            assert counter.blobs == 0
            assert counter.bytes < 8_000
            found += [entry["digest"] for entry in response.json()["manifests"]]
            following, pages = next_page(response), pages + 1
    assert len(found) == len(set(found)) == count
    assert pages > 5
    await new_files.close()


@pytest.mark.parametrize("leave", [Client.vanish, Client.close])
async def test_a_disconnect_ends_the_scan_for_its_client(
    new_files: FilesystemDriver, leave: Callable[[Client], None]
) -> None:
    """Of twenty manifests none is read after the last client has disconnected."""
    await _push(new_files, *"a" * 20)
    counter = ReadCounter(new_files)
    pause = Pause(counter)
    app = await asyncio.to_thread(build, Settings(), counter)

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    async with served(asgi) as server:
        for _ in range(3):
            client = await server.connect()
            await client.send(
                f"GET {REFERRERS}?artifactType=zzz HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
        await pause.reached()
        for client in server.opened:
            leave(client)
        for _ in range(1000):
            if not server.state.connections:
                break
            await asyncio.sleep(0.01)
        pause.end()
    await new_files.close()  # after its threads have finished
    assert counter.blobs == 1
