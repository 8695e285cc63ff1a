"""Upload sessions: start, append, status, finish, cancel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import UUID

import httpx
import pytest

from tests.support.wire import path_of, sha256, with_query
from tests.v2.pushes import (
    ABSENT,
    BASE,
    NAME,
    ORIGIN,
    UPLOADS,
    begin,
    code,
    digest_of,
    finishing,
    refused,
)

CONTENT = b"first part, second part"
FIRST, SECOND = CONTENT[:12], CONTENT[12:]
OCTETS = {"Content-Type": "application/octet-stream"}
EMPTY = sha256(b"")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a body without a declared length."""
    for part in parts:
        yield part


async def held(client: httpx.AsyncClient, location: str) -> str:
    """Return the Range in the status of an upload."""
    response = await client.get(location)
    assert response.status_code == 204, response.text
    return str(response.headers["Range"])


async def gone(client: httpx.AsyncClient, location: str) -> bool:
    """Tell whether an upload is unknown."""
    return refused(await client.get(location)) == (404, "BLOB_UPLOAD_UNKNOWN")


async def pulled(client: httpx.AsyncClient, content: bytes, name: str = NAME) -> bool:
    """Tell whether a blob can be pulled, and check that it has the pushed bytes."""
    response = await client.get(f"/v2/{name}/blobs/{sha256(content)}")
    assert response.content == content or code(response) == "BLOB_UNKNOWN"
    return response.status_code == 200


@pytest.mark.parametrize("path", [UPLOADS, UPLOADS.rstrip("/")])
async def test_start(client: httpx.AsyncClient, path: str) -> None:
    """POST answers 202 with a Location that has the session's UUID and a query."""
    response = await client.post(path)
    assert (response.status_code, response.content) == (202, b"")
    id = response.headers["Docker-Upload-UUID"]
    assert str(UUID(id)) == id
    assert response.headers["Location"] == f"{ORIGIN}{UPLOADS}{id}?_state=at.0"
    assert response.headers["Range"] == "0-0"
    assert response.headers["Content-Length"] == "0"


async def test_sessions_are_independent(client: httpx.AsyncClient) -> None:
    """Two sessions in one repository do not affect each other."""
    one, other = await begin(client), await begin(client)
    await client.patch(one, content=FIRST)
    assert (await held(client, one), await held(client, other)) == ("0-11", "0-0")


@pytest.mark.parametrize("bounds", ["0-11", "bytes 0-11/*", "bytes=0-11", "bytes 0-11/23"])
async def test_patches_in_order(client: httpx.AsyncClient, bounds: str) -> None:
    """Chunks with Content-Range, each answered with the progress; PUT without body finishes."""
    location = await begin(client)
    first = await client.patch(location, content=FIRST, headers={"Content-Range": bounds})
    assert (first.status_code, first.headers["Range"]) == (202, "0-11")
    assert first.headers["Docker-Upload-UUID"] in first.headers["Location"]
    second = await client.patch(
        first.headers["Location"], content=SECOND, headers={"Content-Range": "12-22"}
    )
    assert (second.status_code, second.headers["Range"]) == (202, "0-22")
    done = await client.put(finishing(second.headers["Location"], CONTENT))
    assert done.status_code == 201
    assert done.headers["Location"] == f"{ORIGIN}{BASE}/blobs/{sha256(CONTENT)}"
    assert done.headers["Docker-Content-Digest"] == sha256(CONTENT)
    assert await pulled(client, CONTENT)
    assert await gone(client, location)


async def test_patches_without_content_range(client: httpx.AsyncClient) -> None:
    """A chunk without Content-Range is appended, with or without a declared length."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    streamed = await client.patch(location, content=pieces(SECOND[:3], b"", SECOND[3:]))
    assert (streamed.status_code, streamed.headers["Range"]) == (202, "0-22")
    assert (await client.put(finishing(location, CONTENT))).status_code == 201
    assert await pulled(client, CONTENT)


@pytest.mark.parametrize(
    ("sent", "status"),
    [(CONTENT[:1], "0-0"), (CONTENT[:2], "0-1"), (b"", "0-0"), (b"x" * 2_500_000, "0-2499999")],
)
async def test_the_status_names_the_last_byte_held(
    client: httpx.AsyncClient, sent: bytes, status: str
) -> None:
    """GET and HEAD answer 204 with Range and Location."""
    location = await begin(client)
    await client.patch(location, content=sent)
    for method in ("GET", "HEAD"):
        response = await client.request(method, location)
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["Range"] == status
        assert path_of(response.headers["Location"]) == location
        assert response.headers["Location"].endswith(f"?_state=at.{len(sent)}")
        assert response.headers["Docker-Upload-UUID"] in location


OUT_OF_ORDER = [
    "0-5", "11-22", "13-24", "100-110", "12-11", "12", "-12", "12-", "a-b", "", "bytes */23",
    "12-22,23-24", "١٢-٢٢".encode().decode("latin-1"), "12-9999999999999999999", "0x0c-0x16",
    "items 12-22", "12 - 22", "12-22/",
]  # fmt: skip


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_chunk_out_of_order_is_refused(client: httpx.AsyncClient, method: str) -> None:
    """416 has the progress; nothing of the chunk is kept and the session continues."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    target = finishing(location, CONTENT) if method == "PUT" else location
    for bounds in OUT_OF_ORDER:
        headers = [(b"Content-Range", bounds.encode("latin-1"))]
        response = await client.request(method, target, content=SECOND, headers=headers)
        assert refused(response) == (416, "BLOB_UPLOAD_INVALID"), bounds
        assert response.headers["Range"] == "0-11", bounds
        assert await held(client, location) == "0-11", bounds
    done = await client.put(finishing(location, CONTENT), content=SECOND)
    assert done.status_code == 201
    assert await pulled(client, CONTENT)


async def test_the_first_chunk_begins_at_zero(client: httpx.AsyncClient) -> None:
    """A later start is out of order."""
    location = await begin(client)
    response = await client.patch(location, content=FIRST, headers={"Content-Range": "1-12"})
    assert refused(response) == (416, "BLOB_UPLOAD_INVALID")
    assert response.headers["Range"] == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("bounds", ["12-21", "12-24", "12-12"])
async def test_a_chunk_that_is_not_as_long_as_its_range(
    client: httpx.AsyncClient, method: str, streamed: bool, bounds: str
) -> None:
    """SIZE_INVALID, declared or detected at the end; the session is unchanged."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    target = finishing(location, CONTENT) if method == "PUT" else location
    content = pieces(SECOND[:4], SECOND[4:]) if streamed else SECOND
    headers = {"Content-Range": bounds}
    response = await client.request(method, target, content=content, headers=headers)
    assert refused(response) == (400, "SIZE_INVALID")
    assert response.headers["Range"] == "0-11"
    assert await held(client, location) == "0-11"
    assert (await client.put(finishing(location, CONTENT), content=SECOND)).status_code == 201
    assert await pulled(client, CONTENT)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_range_may_have_an_exclusive_end(client: httpx.AsyncClient, method: str) -> None:
    """Some clients send it; the start and the length of the chunk are certain."""
    location = await begin(client)
    await client.patch(location, content=FIRST, headers={"Content-Range": "0-12"})
    target, bounds = finishing(location, CONTENT), {"Content-Range": f"12-{len(CONTENT)}"}
    if method == "PATCH":
        assert (await client.patch(location, content=SECOND, headers=bounds)).status_code == 202
        assert (await client.put(target)).status_code == 201
    else:
        assert (await client.put(target, content=SECOND, headers=bounds)).status_code == 201
    assert await pulled(client, CONTENT)


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "12-22"}])
async def test_put_may_have_the_last_chunk(
    client: httpx.AsyncClient, headers: Mapping[str, str]
) -> None:
    """The final PUT with a body, with and without Content-Range."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    target = finishing(location, CONTENT)
    done = await client.put(target, content=SECOND, headers={**OCTETS, **headers})
    assert done.status_code == 201
    assert await pulled(client, CONTENT)


@pytest.mark.parametrize("content", [CONTENT, b"", b"x" * 2_500_000])
async def test_post_then_put(client: httpx.AsyncClient, content: bytes) -> None:
    """The whole blob in the final PUT, including an empty one."""
    location = await begin(client)
    assert (await client.put(finishing(location, content), content=content)).status_code == 201
    assert await pulled(client, content)


async def test_a_wrong_digest_ends_the_session(client: httpx.AsyncClient) -> None:
    """DIGEST_INVALID, and the bytes are deleted."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    response = await client.put(with_query(location, f"digest={ABSENT}"), content=SECOND)
    assert refused(response) == (400, "DIGEST_INVALID")
    assert await gone(client, location)
    assert not await pulled(client, CONTENT)


@pytest.mark.parametrize(
    "query",
    ["", "?digest=", "?digest=sha256", "?digest=sha256:12", f"?digest=md5:{'0' * 32}",
     f"?digest=sha384:{'0' * 96}", "?digest=SHA256:" + "0" * 64, "?digest=sha256:" + "g" * 64,
     "?digest=%00", "?digest=../../etc/passwd"],
)  # fmt: skip
async def test_an_invalid_digest_keeps_the_session(client: httpx.AsyncClient, query: str) -> None:
    """A missing, malformed or unsupported digest is refused before the body is read."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    response = await client.put(f"{location}{query}", content=SECOND)
    assert refused(response) == (400, "DIGEST_INVALID")
    assert await held(client, location) == "0-11"


async def test_cancel(client: httpx.AsyncClient) -> None:
    """DELETE answers 204 once; afterwards the session is unknown to every method."""
    location = await begin(client)
    await client.patch(location, content=FIRST)
    response = await client.delete(location)
    assert (response.status_code, response.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        response = await client.request(method, location)
        assert refused(response) == (404, "BLOB_UPLOAD_UNKNOWN")
    response = await client.put(finishing(location, FIRST))
    assert refused(response) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_a_session_belongs_to_its_repository(client: httpx.AsyncClient, method: str) -> None:
    """In another repository, or one with a longer name, it is unknown and unchanged."""
    location = await begin(client)
    id = location.rpartition("/")[2]
    for name in ("elsewhere", "library", f"{NAME}/more"):
        target = finishing(f"/v2/{name}/blobs/uploads/{id}", FIRST)
        response = await client.request(method, target, content=FIRST)
        assert refused(response) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert await held(client, location) == "0-0"


NO_SESSIONS = ["00000000-0000-4000-8000-000000000000", "x", "data", "%00", "a" * 300,
               "00000000-0000-4000-8000-00000000000G"]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
async def test_an_unknown_session(client: httpx.AsyncClient, method: str) -> None:
    """An unknown id and an invalid one are the same to a client."""
    for id in NO_SESSIONS:
        target = finishing(f"{UPLOADS}{id}", FIRST)
        response = await client.request(method, target, content=FIRST)
        assert refused(response) == (404, "BLOB_UPLOAD_UNKNOWN"), id


async def test_an_unfinished_upload_makes_no_repository(client: httpx.AsyncClient) -> None:
    """A repository with only a session is in neither the catalog nor the tags."""
    await client.patch(await begin(client), content=FIRST)
    assert (await client.get("/v2/_catalog")).json() == {"repositories": []}
    assert refused(await client.get(f"{BASE}/tags/list")) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("content", [CONTENT, b"", b"x" * 2_500_000])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_single_post(client: httpx.AsyncClient, content: bytes, algorithm: str) -> None:
    """POST with `digest` and the bytes is 201."""
    digest = digest_of(content, algorithm)
    response = await client.post(f"{UPLOADS}?digest={digest}", content=content, headers=OCTETS)
    assert response.status_code == 201
    assert response.headers["Location"] == f"{ORIGIN}{BASE}/blobs/{digest}"
    assert response.headers["Docker-Content-Digest"] == digest
    assert (await client.get(response.headers["Location"])).content == content


@pytest.mark.parametrize(
    "digest", [ABSENT, EMPTY, "sha256:12", f"md5:{'0' * 32}", "", digest_of(b"x", "sha512")]
)
async def test_a_single_post_with_a_wrong_digest(client: httpx.AsyncClient, digest: str) -> None:
    """Another digest, or an invalid one: 400, and nothing is stored."""
    response = await client.post(f"{UPLOADS}?digest={digest}", content=CONTENT)
    assert refused(response) == (400, "DIGEST_INVALID")
    assert not await pulled(client, CONTENT)
    assert not await pulled(client, b"never pushed")


@pytest.mark.parametrize("announced", ["?digest-algorithm=sha512", "?digest-algorithm=sha256", ""])
async def test_a_sha512_upload_in_chunks(client: httpx.AsyncClient, announced: str) -> None:
    """The algorithm may be declared when the session starts, but need not be."""
    location = await begin(client, announced)
    for part in (FIRST, SECOND):
        location = (await client.patch(location, content=part)).headers["Location"]
    done = await client.put(finishing(location, CONTENT, "sha512"))
    assert done.status_code == 201
    assert done.headers["Docker-Content-Digest"] == digest_of(CONTENT, "sha512")
    assert (await client.get(done.headers["Location"])).content == CONTENT


async def test_a_declared_algorithm_is_not_binding(client: httpx.AsyncClient) -> None:
    """A session for sha512 that is finished with sha256 stores the blob."""
    location = await begin(client, "?digest-algorithm=sha512")
    await client.patch(location, content=CONTENT)
    assert (await client.put(finishing(location, CONTENT))).status_code == 201
    assert await pulled(client, CONTENT)


@pytest.mark.parametrize("algorithm", ["md5", "sha384", "SHA256", "", "sha512%00", "../x"])
async def test_an_unsupported_algorithm_is_refused(
    client: httpx.AsyncClient, algorithm: str
) -> None:
    """400 before a session exists."""
    response = await client.post(f"{UPLOADS}?digest-algorithm={algorithm}")
    assert refused(response) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("name", ["Upper", "a..b", "-a", "a_", "_uploads", "n" * 256])
async def test_an_invalid_name_is_refused(client: httpx.AsyncClient, name: str) -> None:
    """400 before anything is created."""
    response = await client.post(f"/v2/{name}/blobs/uploads/")
    assert refused(response) == (400, "NAME_INVALID")
