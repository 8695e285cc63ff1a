"""Blobs: pull, check and delete."""

from __future__ import annotations

import httpx
import pytest

from tests.support.wire import sha256
from tests.v2.pushes import ABSENT, BASE, LAYER, MANIFEST, push_blob, push_image, refused

DIGEST = sha256(LAYER)
BLOB = f"{BASE}/blobs/{DIGEST}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_blob_is_pulled_as_pushed(client: httpx.AsyncClient, method: str) -> None:
    """The bytes or their length, with the headers for caches and for resuming."""
    await push_blob(client, LAYER)
    response = await client.request(method, BLOB)
    assert response.status_code == 200
    assert response.content == (LAYER if method == "GET" else b"")
    expected = {
        "Content-Length": str(len(LAYER)),
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": DIGEST,
        "ETag": f'"{DIGEST}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "max-age=31536000, immutable",
    }
    assert {name: response.headers[name] for name in expected} == expected


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("content", [b"", b"\0", b"x" * 3_000_000])
async def test_any_size_with_either_algorithm(
    client: httpx.AsyncClient, content: bytes, algorithm: str
) -> None:
    """An empty blob, one byte, and one of several chunks."""
    digest = await push_blob(client, content, algorithm=algorithm)
    response = await client.get(f"{BASE}/blobs/{digest}")
    assert (response.status_code, response.content) == (200, content)
    assert response.headers["Content-Length"] == str(len(content))
    assert response.headers["Docker-Content-Digest"] == digest


async def test_a_blob_of_one_algorithm_is_unknown_under_the_other(
    client: httpx.AsyncClient,
) -> None:
    """A repository has a blob only by the digest with which it was pushed."""
    digest = await push_blob(client, LAYER, algorithm="sha512")
    assert (await client.get(f"{BASE}/blobs/{digest}")).status_code == 200
    assert refused(await client.get(BLOB)) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        (f"{BASE}/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        (f"/v2/elsewhere/blobs/{DIGEST}", 404, "BLOB_UNKNOWN"),
        (f"/v2/library/blobs/{DIGEST}", 404, "BLOB_UNKNOWN"),
        (f"{BASE}/blobs/sha256:123", 400, "DIGEST_INVALID"),
        (f"{BASE}/blobs/sha256:{DIGEST[7:]}0", 400, "DIGEST_INVALID"),
        (f"{BASE}/blobs/sha256:{DIGEST[7:].upper()}A", 400, "DIGEST_INVALID"),
        (f"{BASE}/blobs/sha384:{'0' * 96}", 400, "DIGEST_INVALID"),
        (f"{BASE}/blobs/sha256:..%2fx", 404, "NAME_UNKNOWN"),
        (f"{BASE}/blobs/v1", 400, "DIGEST_INVALID"),
        (f"/v2/a..b/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/_layers/blobs/{DIGEST}", 400, "NAME_INVALID"),
        (f"/v2/blobs/{DIGEST}", 404, "NAME_UNKNOWN"),
    ],
)
async def test_an_unknown_blob_and_an_invalid_digest(
    client: httpx.AsyncClient, target: str, status: int, code: str
) -> None:
    """Unknown is 404, malformed 400; a blob of another repository is unknown."""
    await push_blob(client, LAYER)
    assert refused(await client.get(target)) == (status, code)
    assert refused(await client.delete(target)) == (status, code)
    assert (await client.head(target)).status_code == status


async def test_a_manifest_is_not_a_blob(client: httpx.AsyncClient) -> None:
    """Its bytes are not a blob, unless they were pushed as one."""
    await push_image(client, "v1")
    target = f"{BASE}/blobs/{sha256(MANIFEST)}"
    assert refused(await client.get(target)) == (404, "BLOB_UNKNOWN")
    await push_blob(client, MANIFEST)
    assert (await client.get(target)).content == MANIFEST


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("condition", [f'"{DIGEST}"', DIGEST, f'W/"{DIGEST}"', f'"a", "{DIGEST}"'])
async def test_if_none_match_of_a_blob(
    client: httpx.AsyncClient, method: str, condition: str
) -> None:
    """304, for HEAD as for GET (RFC 9110 section 13.1.2)."""
    await push_blob(client, LAYER)
    response = await client.request(method, BLOB, headers={"If-None-Match": condition})
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == f'"{DIGEST}"'


async def test_if_none_match_needs_membership(client: httpx.AsyncClient) -> None:
    """A blob that the repository does not have is 404, not 304."""
    await push_blob(client, LAYER)
    headers = {"If-None-Match": f'"{DIGEST}"'}
    response = await client.get(f"/v2/elsewhere/blobs/{DIGEST}", headers=headers)
    assert refused(response) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "*/*;q=0", ""])
async def test_a_blob_request_may_accept_anything(client: httpx.AsyncClient, accept: str) -> None:
    """Accept is ignored."""
    await push_blob(client, LAYER)
    response = await client.get(BLOB, headers={"Accept": accept})
    assert (response.status_code, response.content) == (200, LAYER)


async def test_delete_ends_membership_of_one_repository(client: httpx.AsyncClient) -> None:
    """A deleted blob is unknown there, and remains in other repositories."""
    await push_blob(client, LAYER)
    await push_blob(client, LAYER, name="elsewhere")
    response = await client.delete(BLOB)
    assert (response.status_code, response.content) == (202, b"")
    assert refused(await client.get(BLOB)) == (404, "BLOB_UNKNOWN")
    assert refused(await client.delete(BLOB)) == (404, "BLOB_UNKNOWN")
    assert (await client.get(f"/v2/elsewhere/blobs/{DIGEST}")).content == LAYER


async def test_a_deleted_blob_can_be_pushed_again(client: httpx.AsyncClient) -> None:
    """It is a member again."""
    await push_blob(client, LAYER)
    await client.delete(BLOB)
    await push_blob(client, LAYER)
    assert (await client.get(BLOB)).content == LAYER
