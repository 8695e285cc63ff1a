"""Concurrent uploads are limited; no byte of a refused one is read."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
from starlette.types import Receive, Scope, Send

from registry_server.limits import UploadLimits
from tests.limits.asking import Held, ask, at_once

HAS_BODY = (b"content-length", b"5")
OTHER = "198.51.100.1"

upload = partial(ask, method="PATCH", path="/v2/a/blobs/uploads/0123", headers=[HAS_BODY])


async def _running(app: Held, count: int) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    assert app.seen == count


async def test_an_upload_over_the_limit_is_refused_unread_until_another_ends() -> None:
    """Other clients can upload."""
    app = Held()
    limited = UploadLimits(app, per_client=2)
    running = [asyncio.create_task(upload(limited)) for _ in range(2)]
    await _running(app, 2)
    refused = await upload(limited)
    assert (refused.status, refused.was_read) == (429, False)
    assert json.loads(refused.body)["errors"][0]["code"] == "TOOMANYREQUESTS"
    assert refused.headers[b"retry-after"] == b"5"
    assert refused.headers[b"docker-distribution-api-version"] == b"registry/2.0"
    running.append(asyncio.create_task(upload(limited, OTHER)))
    await _running(app, 3)
    app.free.set()
    assert [each.status for each in await asyncio.gather(*running)] == [200] * 3
    assert (await upload(limited)).status == 200
    assert not limited._running


@pytest.mark.parametrize("addresses", [("192.0.2.7", OTHER), (None, None)])
async def test_the_total_of_uploads_is_limited(addresses: tuple[str | None, str | None]) -> None:
    """Also for clients without an address, which have no limit of their own."""
    app = Held()
    limited = UploadLimits(app, per_client=1, total=2)
    running = [asyncio.create_task(upload(limited, address)) for address in addresses]
    await _running(app, 2)
    assert (await upload(limited, "203.0.113.1")).status == 429
    app.free.set()
    await asyncio.gather(*running)
    assert (await upload(limited)).status == 200


async def test_an_upload_that_fails_or_is_cancelled_has_ended() -> None:
    """Its place is free."""

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ConnectionError

    failing = UploadLimits(fails, total=1)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await upload(failing)
    app = Held()
    limited = UploadLimits(app, total=1)
    task = asyncio.create_task(upload(limited))
    await _running(app, 1)
    task.cancel()
    await asyncio.wait([task])
    app.free.set()
    assert (await upload(limited)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/v2/a/blobs/uploads/", []),
        ("POST", "/v2/a/blobs/uploads/", [(b"content-length", b"0")]),
        ("GET", "/v2/a/blobs/uploads/0123", []),
        ("PUT", "/v2/a/manifests/v1", [HAS_BODY]),
        ("PUT", "/v2/a/blobs/uploads/b/manifests/v1", [HAS_BODY]),
        ("POST", "/auth/token", [HAS_BODY]),
    ],
)
async def test_requests_without_bytes_of_a_blob_are_not_limited(
    method: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    """Starting an upload, reading its status, and manifests."""
    app = Held()
    limited = UploadLimits(app, per_client=1, total=1)
    running = asyncio.create_task(upload(limited))
    await _running(app, 1)
    other = asyncio.create_task(ask(limited, method=method, path=path, headers=headers))
    await _running(app, 2)
    app.free.set()
    assert [(await each).status for each in (running, other)] == [200, 200]


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/v2/a/blobs/uploads/", HAS_BODY),
        ("/v2/a/blobs/uploads", HAS_BODY),
        ("/v2/a/blobs/uploads/0123", (b"transfer-encoding", b"chunked")),
        ("/v2/a/blobs/uploads/b/blobs/uploads/0123", HAS_BODY),
    ],
)
async def test_every_request_with_bytes_of_a_blob_is_limited(
    path: str, header: tuple[bytes, bytes]
) -> None:
    """In one request or several, with a length or in chunks."""
    app = Held()
    limited = UploadLimits(app, total=1)
    running = asyncio.create_task(upload(limited))
    await _running(app, 1)
    assert (await ask(limited, method="POST", path=path, headers=[header])).status == 429
    app.free.set()
    await running


async def test_lifespan_messages_are_passed_on() -> None:
    """They have no path."""
    limited = UploadLimits(at_once(), total=1)
    assert (await ask(limited, kind="lifespan")).status == 200
