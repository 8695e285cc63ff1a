"""Mounting a blob from another repository (spec, "Mounting a blob from another repository")."""

from __future__ import annotations

import httpx
import pytest

from tests.support.wire import sha256
from tests.v2.pushes import (
    ABSENT,
    BASE,
    LAYER,
    NAME,
    ORIGIN,
    UPLOADS,
    finishing,
    push_blob,
    refused,
)

DIGEST = sha256(LAYER)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("source", ["&from=other/source", "", "&from="])
async def test_a_mount(client: httpx.AsyncClient, algorithm: str, source: str) -> None:
    """From a repository that has the blob, named or found: 201, and it can be pulled here."""
    digest = await push_blob(client, LAYER, "other/source", algorithm)
    response = await client.post(f"{UPLOADS}?mount={digest}{source}")
    assert (response.status_code, response.content) == (201, b"")
    assert response.headers["Location"] == f"{ORIGIN}{BASE}/blobs/{digest}"
    assert response.headers["Docker-Content-Digest"] == digest
    assert (await client.get(response.headers["Location"])).content == LAYER


async def test_a_mount_outlives_its_source(client: httpx.AsyncClient) -> None:
    """A mounted blob is a member like any other."""
    await push_blob(client, LAYER, "other")
    await client.post(f"{UPLOADS}?mount={DIGEST}&from=other")
    assert (await client.delete(f"/v2/other/blobs/{DIGEST}")).status_code == 202
    assert (await client.get(f"{BASE}/blobs/{DIGEST}")).content == LAYER


async def test_a_mount_from_the_same_repository(client: httpx.AsyncClient) -> None:
    """Mounting a blob that is already a member is 201."""
    await push_blob(client, LAYER)
    response = await client.post(f"{UPLOADS}?mount={DIGEST}&from={NAME}")
    assert response.status_code == 201


@pytest.mark.parametrize(
    "query",
    [
        f"mount={ABSENT}&from=other",
        f"mount={ABSENT}",
        f"mount={DIGEST}&from=nowhere",
        f"mount={DIGEST}&from={NAME}",
    ],
)
async def test_a_failed_mount_starts_an_upload(client: httpx.AsyncClient, query: str) -> None:
    """An unknown blob or source is 202 with a session, which accepts the bytes."""
    await push_blob(client, LAYER, "other")
    response = await client.post(f"{UPLOADS}?{query}")
    assert response.status_code == 202
    assert response.headers["Range"] == "0-0"
    done = await client.put(finishing(response.headers["Location"], b"bytes"), content=b"bytes")
    assert done.status_code == 201


async def test_a_mount_needs_membership_in_the_source(client: httpx.AsyncClient) -> None:
    """A blob that no repository has cannot be mounted, even if its bytes still exist."""
    await push_blob(client, LAYER, "other")
    await client.delete(f"/v2/other/blobs/{DIGEST}")
    for source in ("", "&from=other"):
        response = await client.post(f"{UPLOADS}?mount={DIGEST}{source}")
        assert response.status_code == 202
    assert refused(await client.get(f"{BASE}/blobs/{DIGEST}")) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    "query",
    [
        "mount=",
        "mount",
        "mount=nonsense",
        "mount=sha256:12&from=other",
        f"mount=md5:{'0' * 32}&from=other",
        f"mount=SHA256:{'0' * 64}",
        f"mount={DIGEST}&from=Upper",
        f"mount={DIGEST}&from=../other",
        f"mount={DIGEST}&from=%00",
        f"mount={DIGEST}&from={'a' * 256}",
        "mount=nonsense&from=Upper",
        f"mount=nonsense&digest={DIGEST}",
    ],
)
async def test_an_invalid_mount_starts_an_upload(client: httpx.AsyncClient, query: str) -> None:
    """An invalid digest or source name is 202 with an ordinary session (SHOULD)."""
    await push_blob(client, LAYER, "other")
    response = await client.post(f"{UPLOADS}?{query}")
    assert response.status_code == 202
    assert response.headers["Range"] == "0-0"
    done = await client.put(finishing(response.headers["Location"], LAYER), content=LAYER)
    assert done.status_code == 201
    assert (await client.get(f"{BASE}/blobs/{DIGEST}")).content == LAYER
