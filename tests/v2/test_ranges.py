"""Ranges of a blob (RFC 9110 section 14)."""

from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry_server.v2.ranges import MOST_RANGES, parse
from registry_server.v2.refusals import RangeUnsatisfiable
from tests.support.wire import sha256
from tests.v2.pushes import BASE, LAYER, push_blob, refused

DIGEST = sha256(LAYER)
BLOB = f"{BASE}/blobs/{DIGEST}"
SIZE = len(LAYER)


async def ask(client: httpx.AsyncClient, wanted: str, **more: str) -> httpx.Response:
    """Push LAYER, ten digits, and request a range of it."""
    await push_blob(client, LAYER)
    headers = {"Range": wanted} | {name.replace("_", "-"): text for name, text in more.items()}
    return await client.get(BLOB, headers=headers)


ONE_PART: list[tuple[str, int, int]] = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-9", 0, 10),
    ("bytes=3-5", 3, 6),
    ("bytes=9-9", 9, 10),
    ("bytes=4-", 4, 10),
    ("bytes=9-", 9, 10),
    ("bytes=5-99", 5, 10),
    ("bytes=0-999999999999999999", 0, 10),
    ("bytes=-1", 9, 10),
    ("bytes=-10", 0, 10),
    ("bytes=-11", 0, 10),
    ("bytes=007-008", 7, 9),
    ("BYTES=1-2", 1, 3),
    ("bytes= 1-2 ", 1, 3),
    ("bytes=,1-2,", 1, 3),
    ("bytes=0-4,3-6", 0, 7),
    ("bytes=0-4,5-6", 0, 7),
    ("bytes=2-3,2-3,2-3", 2, 4),
    ("bytes=0-,-5", 0, 10),
    ("bytes=2-3,50-60", 2, 4),
    ("bytes=50-60,2-3", 2, 4),
    ("bytes=-0,2-3", 2, 4),
    ("bytes=0-1,99-", 0, 2),
    (f"bytes=1-{'9' * 30}", 1, 10),
]


async def test_one_range(client: httpx.AsyncClient) -> None:
    """One range, or several that join to one, is 206 with Content-Range and those bytes."""
    for wanted, start, stop in ONE_PART:
        response = await ask(client, wanted)
        assert (response.status_code, response.content) == (206, LAYER[start:stop]), wanted
        assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}", wanted
        assert response.headers["Content-Length"] == str(stop - start)
        assert response.headers["Content-Type"] == "application/octet-stream"
        assert response.headers["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        ("bytes=0-1,4-5", [(0, 2), (4, 6)]),
        ("bytes=8-9,0-1", [(8, 10), (0, 2)]),
        ("bytes=-2, 0-0 ,3-3", [(8, 10), (0, 1), (3, 4)]),
        ("bytes=5-,0-2", [(5, 10), (0, 3)]),
    ],
)
async def test_several_ranges(
    client: httpx.AsyncClient, wanted: str, parts: Sequence[tuple[int, int]]
) -> None:
    """They are sent as multipart/byteranges, in the requested order."""
    response = await ask(client, wanted)
    assert response.status_code == 206
    assert response.headers["Content-Length"] == str(len(response.content))
    assert "Content-Range" not in response.headers
    found = multipart(response)
    assert [part.get_payload(decode=True) for part in found] == [LAYER[a:b] for a, b in parts]
    places = [part["Content-Range"] for part in found]
    assert places == [f"bytes {a}-{b - 1}/{SIZE}" for a, b in parts]
    assert {part["Content-Type"] for part in found} == {"application/octet-stream"}


def multipart(response: httpx.Response) -> list[Message]:
    """Parse a multipart body as any client would."""
    content_type = response.headers["Content-Type"]
    assert content_type.startswith("multipart/byteranges; boundary=")
    message = message_from_bytes(
        f"Content-Type: {content_type}\r\n\r\n".encode() + response.content
    )
    assert not message.defects
    return [part for part in message.walk() if not part.is_multipart()]


UNSATISFIABLE = [
    "bytes=10-", "bytes=10-12", "bytes=99-", "bytes=-0", "bytes=10-,20-30", "bytes=-0,10-",
    "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "bytes=1-2-3",
    "bytes=--1", "bytes=1-2,x", "bytes=+1-2", "bytes=1.0-2", "bytes=0x0-1", "bytes=1 -2",
    f"bytes=0-{'9' * 400}", f"bytes={'9' * 400}-", "bytes=0-0;1-1",
    "bytes=" + ",".join(f"{at}-{at}" for at in (0, 2, 4, 6, 8) * 4),
    "bytes=" + "0-0," * 16 + "0-0", "bytes=" + "," * 1000,
]  # fmt: skip


async def test_an_unsatisfiable_range(client: httpx.AsyncClient) -> None:
    """Outside the blob, malformed, or too many: 416 with the size."""
    for wanted in UNSATISFIABLE:
        response = await ask(client, wanted)
        assert refused(response) == (416, "RANGE_INVALID"), wanted
        assert response.headers["Content-Range"] == f"bytes */{SIZE}", wanted


@pytest.mark.parametrize("wanted", ["items=0-1", "bytes", "0-1", "", "bytes:0-1"])
async def test_an_unknown_range_unit_is_ignored(client: httpx.AsyncClient, wanted: str) -> None:
    """The whole blob is sent."""
    response = await ask(client, wanted)
    assert (response.status_code, response.content) == (200, LAYER)
    assert "Content-Range" not in response.headers


async def test_as_many_ranges_as_are_allowed(client: httpx.AsyncClient) -> None:
    """Sixteen parts are served."""
    content = bytes(range(64))
    await push_blob(client, content)
    wanted = "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 64, 4))
    response = await client.get(f"{BASE}/blobs/{sha256(content)}", headers={"Range": wanted})
    assert response.status_code == 206
    found = [part.get_payload(decode=True) for part in multipart(response)]
    assert found == [content[at : at + 1] for at in range(0, 64, 4)]


@pytest.mark.parametrize("condition", [f'"{DIGEST}"', f' "{DIGEST}" '])
async def test_if_range_that_matches(client: httpx.AsyncClient, condition: str) -> None:
    """The range applies if the strong ETag is equal."""
    response = await ask(client, "bytes=1-2", If_Range=condition)
    assert (response.status_code, response.content) == (206, LAYER[1:3])


@pytest.mark.parametrize(
    "condition",
    [f'W/"{DIGEST}"', '"other"', DIGEST[:-1], "Wed, 21 Oct 2015 07:28:00 GMT", ""],
)
async def test_if_range_that_does_not_match(client: httpx.AsyncClient, condition: str) -> None:
    """Another ETag, a weak one or a date: the whole blob, even for an invalid range."""
    for wanted in ("bytes=1-2", "bytes=99-"):
        response = await ask(client, wanted, If_Range=condition)
        assert (response.status_code, response.content) == (200, LAYER)


@pytest.mark.parametrize("wanted", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=5-6", "nonsense"])
async def test_an_empty_blob_is_sent_whole(client: httpx.AsyncClient, wanted: str) -> None:
    """For any range: there is no part of zero bytes."""
    digest = await push_blob(client, b"")
    response = await client.get(f"{BASE}/blobs/{digest}", headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == "0"


@pytest.mark.parametrize("wanted", ["bytes=1-2", "bytes=99-", "bytes=x"])
async def test_head_ignores_ranges(client: httpx.AsyncClient, wanted: str) -> None:
    """Range is defined for GET only (RFC 9110 section 14.2)."""
    await push_blob(client, LAYER)
    response = await client.head(BLOB, headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == str(SIZE)
    assert "Content-Range" not in response.headers


async def test_a_condition_precedes_a_range(client: httpx.AsyncClient) -> None:
    """If-None-Match that matches is 304 even with a range."""
    response = await ask(client, "bytes=1-2", If_None_Match=f'"{DIGEST}"')
    assert response.status_code == 304


async def test_a_range_of_an_unknown_blob(client: httpx.AsyncClient) -> None:
    """404 precedes 416."""
    response = await client.get(BLOB, headers={"Range": "bytes=99-"})
    assert refused(response) == (404, "BLOB_UNKNOWN")


async def test_ranges_across_chunks_of_a_large_blob(client: httpx.AsyncClient) -> None:
    """A range may begin and end anywhere in the pieces that are read."""
    content = bytes(range(251)) * 16_000
    digest = await push_blob(client, content)
    for start, stop in ((0, 1 << 20), (1, (2 << 20) + 7), ((1 << 20) - 1, len(content))):
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        response = await client.get(f"{BASE}/blobs/{digest}", headers=headers)
        assert response.content == content[start:stop]


@pytest.mark.parametrize(
    ("wanted", "parts"),
    [
        ("bytes=5-,0-7", [(0, 10)]),
        ("bytes=3-4,8-8,2-3", [(2, 5), (8, 9)]),
        ("bytes=8-9,0-1,7-8", [(7, 10), (0, 2)]),
        ("bytes=0-1,4-5,1-4", [(0, 6)]),
        ("bytes=5-9,0-4", [(0, 10)]),
        ("bytes=0-,1-,2-,3-,0-,1-,2-,3-", [(0, 10)]),
    ],
)
def test_ranges_that_overlap_are_joined_in_any_order(
    wanted: str, parts: Sequence[tuple[int, int]]
) -> None:
    """A joined range has the position of the first of its parts."""
    assert [(part.start, part.stop) for part in parse(wanted, SIZE)] == parts


SPEC = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: (min(ends), max(ends)))


@given(specs=st.lists(SPEC, min_size=1, max_size=MOST_RANGES), size=st.integers(1, 50))
@settings(max_examples=300)
def test_each_requested_byte_is_sent_once(specs: list[tuple[int, int]], size: int) -> None:
    """For any overlaps and order, the parts add up to the requested bytes."""
    asked = {at for first, last in specs for at in range(first, last + 1) if at < size}
    wanted = "bytes=" + ",".join(f"{first}-{last}" for first, last in specs)
    if not asked:
        with pytest.raises(RangeUnsatisfiable):
            parse(wanted, size)
        return
    sent = [at for part in parse(wanted, size) for at in range(part.start, part.stop)]
    assert sorted(sent) == sorted(asked)
