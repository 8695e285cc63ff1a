"""Quotas on the wire: the errors, in time, with messages that docker prints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from storage.values.names import RepositoryName
from tests.storage.limited import counted, on_disk
from tests.support.app import lived
from tests.support.drivers import AnyDriver
from tests.v2.conftest import Serve
from tests.v2.pushes import (
    CONFIG,
    DIGEST,
    LAYER,
    MANIFEST,
    NAME,
    UPLOADS,
    begin,
    digest_of,
    error,
    push_blob,
    push_image,
    push_manifest,
    refused,
)

IMAGE = len(LAYER) + len(CONFIG) + len(MANIFEST)
APP = RepositoryName(NAME)
DENIED, TOO_MANY = (403, "DENIED"), (429, "TOOMANYREQUESTS")


def settings(**limits: object) -> dict[str, Any]:
    """Limit one repository, and allow deletion."""
    entry = {"repositories": [NAME], **limits}
    return {"storage": {"delete": {"enabled": True}}, "limits": {"repositories": [entry]}}


async def _in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 7):
        yield content[at : at + 7]


WAYS = ("at once", "patch", "patch in pieces", "put", "put in pieces")


async def _push(client: httpx.AsyncClient, way: str, content: bytes) -> httpx.Response:
    """Push a blob in one of the ways; return the last response."""
    digest = digest_of(content)
    if way == "at once":
        return await client.post(f"{UPLOADS}?digest={digest}", content=content)
    target = await begin(client)
    body = _in_pieces(content) if way.endswith("in pieces") else content
    if way.startswith("put"):
        return await client.put(target, params={"digest": digest}, content=body)
    answer = await client.patch(target, content=body)
    if answer.status_code != 202:
        return answer
    return await client.put(target, params={"digest": digest})


@pytest.mark.parametrize("way", WAYS)
async def test_a_blob_beyond_the_quota_is_denied(serve: Serve, driver: AnyDriver, way: str) -> None:
    """In every way of pushing, to the byte, and nothing of it is stored."""
    client = await serve(settings(bytes="100"))
    await push_blob(client, b"a" * 60)
    answer = await _push(client, way, b"b" * 41)
    assert refused(answer) == DENIED
    message = error(answer)["message"]
    assert message.startswith(f"repository {NAME} may hold 100 B and holds 60 B: another ")
    assert await on_disk(driver, APP) == await counted(driver, APP) == 60
    assert (await _push(client, way, b"b" * 40)).status_code == 201
    assert await on_disk(driver, APP) == 100


async def _put_other(client: httpx.AsyncClient) -> httpx.Response:
    """Put another manifest of the same image, a byte longer."""
    headers = {"Content-Type": json.loads(MANIFEST)["mediaType"]}
    content = MANIFEST.replace(b"{", b"{ ", 1)
    return await client.put(f"/v2/{NAME}/manifests/other", content=content, headers=headers)


async def test_a_full_repository_accepts_existing_content(serve: Serve) -> None:
    """The same image with other tags; another manifest once something is deleted."""
    client = await serve(settings(bytes=IMAGE + 1))
    await push_image(client, "v1")
    assert refused(await _put_other(client)) == DENIED
    await push_manifest(client, "v2", MANIFEST)
    await push_manifest(client, f"{DIGEST}?tag=a&tag=b", MANIFEST)
    assert (await client.get(f"/v2/{NAME}/tags/list")).json()["tags"] == ["a", "b", "v1", "v2"]
    assert (await client.delete(f"/v2/{NAME}/manifests/{DIGEST}")).status_code == 202
    assert (await _put_other(client)).status_code == 201
    assert (await client.get(f"/v2/{NAME}/blobs/{digest_of(LAYER)}")).content == LAYER


async def test_a_mount_beyond_the_quota_starts_no_upload(serve: Serve, driver: AnyDriver) -> None:
    """It is denied, with or without a source; blobs that fit or are members are mounted."""
    client = await serve(settings(bytes="100"))
    small, large = b"a" * 100, b"b" * 101
    for content in (small, large):
        await push_blob(client, content, "other")
    for source in ("&from=other", ""):
        mount = await client.post(f"{UPLOADS}?mount={digest_of(large)}{source}")
        assert refused(mount) == DENIED
    assert await counted(driver, APP) == 0
    for _ in range(2):
        mount = await client.post(f"{UPLOADS}?mount={digest_of(small)}&from=other")
        assert mount.status_code == 201
    mount = await client.post(f"{UPLOADS}?mount={digest_of(b'nowhere')}&from=other")
    assert mount.status_code == 202


async def test_too_many_uploads_are_refused(serve: Serve) -> None:
    """With the usual error for too many requests; cancelling one allows another."""
    client = await serve(settings(uploads=1))
    target = await begin(client)
    for way in (UPLOADS, f"{UPLOADS}?digest={digest_of(b'x')}"):
        answer = await client.post(way, content=b"x")
        assert refused(answer) == TOO_MANY
        assert int(answer.headers["retry-after"]) >= 1
    assert (await client.delete(target)).status_code == 204
    assert await begin(client)


async def test_the_order_of_a_chunk_is_checked_before_the_quota(
    serve: Serve,
) -> None:
    """The session remains, and the client learns where to continue."""
    client = await serve(settings(bytes="100"))
    target = await begin(client)
    chunk = {"Content-Range": "5-204", "Content-Length": "200"}
    answer = await client.patch(target, content=b"x" * 200, headers=chunk)
    assert refused(answer) == (416, "BLOB_UPLOAD_INVALID")
    assert (await client.get(target)).status_code == 204


async def test_other_repositories_have_no_limit(serve: Serve) -> None:
    """Only those that an entry matches."""
    client = await serve(settings(bytes="10"))
    await push_image(client, "v1", name="library/other")
    assert refused(await _push(client, "at once", b"x" * 11)) == DENIED


async def test_callers_that_may_not_move_tags_have_the_quota_too(
    serve: Serve, tmp_path: Path
) -> None:
    """Their repository is opened in another mode."""
    rule = {"anonymous": True, "actions": ["pull", "push"]}
    made: Mapping[str, Any] = settings(bytes=IMAGE) | {"access": {"rules": [rule]}}
    made["storage"]["filesystem"] = {"rootdirectory": tmp_path}
    client = await serve(dict(made))
    await push_image(client, "v1")
    answer = await _put_other(client)
    assert refused(answer) == DENIED
    assert "may hold" in error(answer)["message"]


async def test_each_refusal_is_a_line_of_the_audit_log(driver: AnyDriver, tmp_path: Path) -> None:
    """It names the limit of the repository."""
    log = tmp_path / "audit.log"
    made = settings(bytes="10", uploads=1) | {"audit": {"enabled": True, "file": log}}
    async with lived(validated(Settings, made), driver) as client:
        assert refused(await _push(client, "at once", b"x" * 11)) == DENIED
        with suppress(KeyError):
            await begin(client)
        assert refused(await client.post(UPLOADS)) == TOO_MANY
    text = await asyncio.to_thread(log.read_text)
    lines = [json.loads(line) for line in text.splitlines()]
    told = [(one["action"], one["repository"], one["rule"], one["status"]) for one in lines]
    assert told == [
        ("push", NAME, "limits.repositories", 403),
        ("push", NAME, "limits.repositories", 429),
    ]
