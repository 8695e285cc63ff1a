"""The `_state` of an upload's URL: a request that is sent twice is applied once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.wire import path_of, sha256, with_query
from tests.v2.pushes import BASE, UPLOADS, finishing, refused

FIRST, SECOND = b"first part, ", b"second part"
CONTENT = FIRST + SECOND
OUT_OF_ORDER = (416, "BLOB_UPLOAD_INVALID")
# The state of CNCF distribution 2.8.2 for a session of five bytes, and other texts.
STRANGE_STATES = [
    "WJTxWcbhoDt05vBKoA2ZBYU5OEEpD1CGJzdUL4He0CR7Ik5hbWUiOiJhcHAiLCJVVUlEIjoiZDM1ZjllNjUtN2MyYy00"
    "MTk0LThjMmYtYWQyZjAyODQwZGFhIiwiT2Zmc2V0IjowLCJTdGFydGVkQXQiOiIyMDI2LTExLTI5In0%3D",
    "", "0", "5", "at", "at.", "at.-1", "at.x", "AT.0", "at.0x0", "at.%D9%A1", "at.0%0A",
    "at.9999999999999999999", "at.0.0", "%00", "%FF%FE", "a" * 4000,
]  # fmt: skip


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a body without a declared length."""
    for part in parts:
        yield part


async def started(client: httpx.AsyncClient) -> str:
    """Start an upload; return its Location."""
    return str((await client.post(UPLOADS)).headers["Location"])


async def held(client: httpx.AsyncClient, location: str) -> str:
    """Return the Range in the status of an upload."""
    return str((await client.get(location)).headers["Range"])


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_chunk_that_is_sent_twice_counts_once(
    client: httpx.AsyncClient, streamed: bool
) -> None:
    """The second time it is 416, `Range` has the progress, and the newest Location continues."""
    location = await started(client)
    sent = [
        await client.patch(location, content=pieces(FIRST) if streamed else FIRST) for _ in range(3)
    ]
    assert [answer.status_code for answer in sent] == [202, 416, 416]
    assert refused(sent[1]) == OUT_OF_ORDER
    assert {answer.headers["Range"] for answer in sent} == {"0-11"}
    newest = sent[0].headers["Location"]
    done = await client.put(finishing(newest, CONTENT), content=SECOND)
    assert done.status_code == 201
    assert (await client.get(f"{BASE}/blobs/{sha256(CONTENT)}")).content == CONTENT


async def test_a_last_chunk_that_is_sent_twice_keeps_the_session(
    client: httpx.AsyncClient,
) -> None:
    """A repeated PUT is 416, not a digest mismatch that ends the session."""
    location = await started(client)
    after_first = (await client.patch(location, content=FIRST)).headers["Location"]
    after_second = (await client.patch(after_first, content=SECOND)).headers["Location"]
    for body in (SECOND, pieces(SECOND)):
        answer = await client.put(finishing(after_first, CONTENT), content=body)
        assert refused(answer) == OUT_OF_ORDER
        assert answer.headers["Range"] == "0-22"
    assert (await client.put(finishing(after_second, CONTENT))).status_code == 201


async def test_the_status_gives_the_location_that_continues(client: httpx.AsyncClient) -> None:
    """A client that lost a response requests the status, and continues at its Location."""
    location = await started(client)
    await client.patch(location, content=FIRST)
    assert (await client.patch(location, content=SECOND)).status_code == 416
    status = await client.get(location)
    assert (status.status_code, status.headers["Range"]) == (204, "0-11")
    sent = await client.patch(status.headers["Location"], content=SECOND)
    assert (sent.status_code, sent.headers["Range"]) == (202, "0-22")


async def test_content_range_takes_precedence_over_the_state(client: httpx.AsyncClient) -> None:
    """A client may use the first Location for all of its chunks if they have Content-Range."""
    location = await started(client)
    for part, bounds in ((FIRST, "0-11"), (SECOND, "12-22")):
        answer = await client.patch(location, content=part, headers={"Content-Range": bounds})
        assert answer.status_code == 202
    again = await client.patch(location, content=SECOND, headers={"Content-Range": "12-22"})
    assert refused(again) == OUT_OF_ORDER
    assert (await client.put(finishing(location, CONTENT))).status_code == 201


@pytest.mark.parametrize("length", [{}, {"Content-Length": "0"}])
async def test_an_empty_chunk_is_never_out_of_order(
    client: httpx.AsyncClient, length: dict[str, str]
) -> None:
    """Scripts finish an upload with an empty PUT to the first Location."""
    location = await started(client)
    await client.patch(location, content=CONTENT)
    empty = await client.patch(location, headers=length)
    assert (empty.status_code, empty.headers["Range"]) == (202, "0-22")
    assert (await client.put(finishing(location, CONTENT), headers=length)).status_code == 201


async def test_without_a_state_a_chunk_is_appended(client: httpx.AsyncClient) -> None:
    """A URL that a client built from the repository and the UUID always works."""
    path = path_of(await started(client))
    for part in (FIRST, SECOND):
        assert (await client.patch(path, content=part)).status_code == 202
    assert (await client.put(finishing(path, CONTENT))).status_code == 201


@pytest.mark.parametrize("state", STRANGE_STATES)
async def test_the_state_of_another_registry_is_ignored(
    client: httpx.AsyncClient, state: str
) -> None:
    """An upload survives a change of the registry: each method accepts the previous one's URLs."""
    path = path_of(await started(client))
    strange = f"{path}?_state={state}"
    for part, held_then in ((FIRST, "0-11"), (SECOND, "0-22")):
        assert (await client.patch(strange, content=part)).status_code == 202
        assert await held(client, strange) == held_then
    done = await client.put(with_query(strange, f"digest={sha256(CONTENT)}"))
    assert done.status_code == 201
    other = path_of(await started(client))
    assert (await client.delete(f"{other}?_state={state}")).status_code == 204
