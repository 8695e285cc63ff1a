"""A shared cache must not store blobs that need credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.access.conftest import Guarded, basic, bearer
from tests.access.test_lessons import put, token
from tests.support.wire import sha256
from tests.v2.pushes import CONFIG, LAYER, MANIFEST

BLOB = sha256(LAYER)
KEPT = "max-age=31536000, immutable"
OPEN: Mapping[str, Any] = {"auth": {}, "access": {}}
PASSWORDS_ALONE: Mapping[str, Any] = {"access": {}}
OFFLOADED: Mapping[str, Any] = {"http": {"accelredirect": "/blobs-internal/"}}


async def push(client: httpx.AsyncClient, name: str, shown: Mapping[str, str]) -> None:
    for content in (LAYER, CONFIG):
        target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
        assert (await client.post(target, content=content, headers=shown)).status_code == 201
    await put(client, name, "v1", MANIFEST, shown)


async def said(client: httpx.AsyncClient, name: str, shown: Mapping[str, str]) -> set[str]:
    """Return the `Cache-Control` of a blob in every way to request it."""
    ways = [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("GET", {"Range": "bytes=1-2"}, 206),
        ("GET", {"Range": "bytes=1-2,4-5"}, 206),
        ("GET", {"If-None-Match": f'"{BLOB}"'}, 304),
        ("HEAD", {"If-None-Match": f'"{BLOB}"'}, 304),
    ]
    found = set()
    for method, more, status in ways:
        headers = {**shown, **more}
        answer = await client.request(method, f"/v2/{name}/blobs/{BLOB}", headers=headers)
        # The proxy sends the file, so it handles ranges.
        assert answer.status_code == status or "x-accel-redirect" in answer.headers
        found.update(answer.headers.get_list("cache-control"))
    return found


@pytest.mark.parametrize("more", [{}, OFFLOADED], ids=["sent", "offloaded"])
async def test_a_blob_that_needs_credentials_is_private(
    guarded: Guarded, more: Mapping[str, Any]
) -> None:
    """With a password and a token, whole and in parts, and in HEAD and 304."""
    client = await guarded(more)
    await push(client, "team/app", basic("admin"))
    granted = await token(client, "repository:team/app:pull", basic("reader"))
    for shown in (basic("admin"), basic("reader"), bearer(granted["token"])):
        assert await said(client, "team/app", shown) == {f"private, {KEPT}"}


@pytest.mark.parametrize("more", [{}, OFFLOADED], ids=["sent", "offloaded"])
async def test_a_public_blob_can_be_cached(guarded: Guarded, more: Mapping[str, Any]) -> None:
    """Also if the request has credentials: the response does not depend on them."""
    client = await guarded(more)
    await push(client, "public/app", basic("admin"))
    granted = await token(client, "repository:public/app:pull", {})
    for shown in ({}, basic("reader"), bearer(granted["token"])):
        assert await said(client, "public/app", shown) == {KEPT}


async def test_without_rules_every_blob_is_private(guarded: Guarded) -> None:
    """With users and without rules, nothing can be pulled without a password."""
    client = await guarded(PASSWORDS_ALONE)
    await push(client, "any/app", basic("writer"))
    assert await said(client, "any/app", basic("other")) == {f"private, {KEPT}"}


async def test_without_access_control_every_blob_can_be_cached(guarded: Guarded) -> None:
    """No client sends credentials, so nothing is private."""
    client = await guarded(OPEN)
    await push(client, "any/app", {})
    assert await said(client, "any/app", {}) == {KEPT}


@pytest.mark.parametrize("name", ["any/app", "public/app"])
async def test_blobs_behind_client_certificates_are_private(guarded: Guarded, name: str) -> None:
    """Every client needs one to connect, also for content that rules grant to anonymous clients."""
    http = {"tls": {"certificate": "/c", "key": "/k", "clientcas": ["/a"]}}
    client = await guarded({"http": http, **(OPEN if name == "any/app" else {})})
    await push(client, name, {} if name == "any/app" else basic("admin"))
    assert await said(client, name, {}) == {f"private, {KEPT}"}
