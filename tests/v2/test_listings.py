"""Tags and the catalog, in pages (spec, "Listing Tags")."""

from __future__ import annotations

import re
from collections.abc import Sequence

import httpx
import pytest

from tests.v2.conftest import Serve
from tests.v2.pushes import (
    BASE,
    DIGEST,
    LAYER,
    MANIFEST,
    NAME,
    begin,
    push_blob,
    push_image,
    push_manifest,
    refused,
)

TAGS = f"{BASE}/tags/list"
CATALOG = "/v2/_catalog"
# In byte order: capitals before `_` before small letters.
IN_ORDER = ["0.1", "0.10", "0.9", "B", "_b", "a", "a-1", "a.1", "a1", "b"]
NAMES = ["a", "a-b", "a-b/c", "a.b", "a/b", "a/b/c", "a0", "b"]
_NEXT = re.compile(r'<(/v2/[^>]*)>; rel="next"')


def next_page(response: httpx.Response) -> str | None:
    """Return the URL in the Link header, or None."""
    link = response.headers.get("Link")
    if link is None:
        return None
    match = _NEXT.fullmatch(link)
    assert match, link
    return match[1]


async def followed(client: httpx.AsyncClient, target: str, key: str) -> list[list[str]]:
    """Return the entries of each page, following the links to the end."""
    pages: list[list[str]] = []
    following: str | None = target
    while following is not None:
        response = await client.get(following)
        assert response.status_code == 200, response.text
        pages.append(response.json()[key])
        following = next_page(response)
        assert len(pages) < 50
    return pages


def cut(entries: Sequence[str], size: int) -> list[list[str]]:
    """Split `entries` into pages."""
    return [list(entries[at : at + size]) for at in range(0, len(entries), size)]


async def test_all_tags_in_the_order_of_their_bytes(client: httpx.AsyncClient) -> None:
    """In any order of pushes, and with tags that are prefixes of others."""
    await push_image(client, *reversed(IN_ORDER))
    response = await client.get(TAGS)
    assert response.json() == {"name": NAME, "tags": IN_ORDER}
    assert response.headers["Content-Type"] == "application/json"
    assert next_page(response) is None


@pytest.mark.parametrize("size", [1, 3, 5, 9, 10, 11, 10**6])
async def test_following_the_links_gives_every_tag_once(
    client: httpx.AsyncClient, size: int
) -> None:
    """A page has exactly `n` entries while there are more, and the last one has no Link."""
    await push_image(client, *IN_ORDER)
    assert await followed(client, f"{TAGS}?n={size}", "tags") == cut(IN_ORDER, size)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=0", []),
        ("n=0&last=a", []),
        ("n=00", []),
        ("n=", IN_ORDER),
        ("last=", IN_ORDER),
        ("last=a", IN_ORDER[6:]),
        ("last=Z", IN_ORDER[4:]),
        ("last=b", []),
        ("last=zzz", []),
        ("last=0.10&n=2", ["0.9", "B"]),
        ("n=2&last=%00", ["0.1", "0.10"]),
        ("n=1&last=a/../b", ["a1"]),
        ("n=1&last=%ff%fe", []),
        ("n=3&last=" + "9" * 3000, ["B", "_b", "a"]),
        ("n=99999999999999999999999999", IN_ORDER),
        ("n=" + "9" * 3000, IN_ORDER),
    ],
)
async def test_windows(client: httpx.AsyncClient, query: str, expected: list[str]) -> None:
    """`last` may be any text and is not listed itself; `n` 0 is an empty list without Link."""
    await push_image(client, *IN_ORDER)
    response = await client.get(f"{TAGS}?{query}")
    assert (response.status_code, response.json()["tags"]) == (200, expected)
    if "n=0" in query:
        assert "Link" not in response.headers


NO_COUNTS = ["-1", "x", "1.5", "1e3", "+1", "0x10", "1%00", "%D9%A1", "1,2", "true", "1%20"]


@pytest.mark.parametrize("path", [TAGS, CATALOG])
async def test_an_invalid_n_is_refused(client: httpx.AsyncClient, path: str) -> None:
    """Negative, or no number: 400."""
    await push_image(client)
    for n in NO_COUNTS:
        response = await client.get(f"{path}?n={n}")
        assert refused(response) == (400, "PAGINATION_NUMBER_INVALID"), n


async def test_a_repository_without_tags_has_an_empty_list(client: httpx.AsyncClient) -> None:
    """`[]` and not `null`, as long as the repository exists."""
    await push_blob(client, LAYER)
    assert (await client.get(TAGS)).json() == {"name": NAME, "tags": []}
    await push_image(client, "v1")
    await client.delete(f"{BASE}/manifests/{DIGEST}")
    assert (await client.get(TAGS)).json() == {"name": NAME, "tags": []}


@pytest.mark.parametrize("query", ["", "?n=0", "?n=1", "?last=a"])
async def test_tags_of_an_unknown_repository(client: httpx.AsyncClient, query: str) -> None:
    """404, for the parent of a repository as well."""
    await push_image(client)
    for name in ("nowhere", "library"):
        response = await client.get(f"/v2/{name}/tags/list{query}")
        assert refused(response) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("path", [TAGS, CATALOG])
async def test_head_of_a_listing(client: httpx.AsyncClient, path: str) -> None:
    """HEAD has the length of the body of GET."""
    await push_image(client)
    body = (await client.get(path)).content
    response = await client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Length"] == str(len(body))


async def test_the_catalog_of_an_empty_registry(client: httpx.AsyncClient) -> None:
    """An empty list."""
    assert (await client.get(CATALOG)).json() == {"repositories": []}


async def fill(client: httpx.AsyncClient) -> None:
    """Push an image to each of NAMES."""
    for name in reversed(NAMES):
        await push_image(client, name=name)


async def test_the_catalog_in_the_order_of_its_bytes(client: httpx.AsyncClient) -> None:
    """Every repository once, including prefixes of others."""
    await fill(client)
    response = await client.get(CATALOG)
    assert response.json() == {"repositories": NAMES}
    assert next_page(response) is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
async def test_following_the_links_gives_every_repository_once(
    client: httpx.AsyncClient, size: int
) -> None:
    """A page has exactly `n` entries while there are more."""
    await fill(client)
    assert await followed(client, f"{CATALOG}?n={size}", "repositories") == cut(NAMES, size)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=0", []),
        ("last=a", NAMES[1:]),
        ("last=a-b/b", NAMES[2:]),
        ("last=a/", NAMES[4:]),
        ("n=1&last=a/b", ["a/b/c"]),
        ("last=../..", NAMES),
        ("last=%00", NAMES),
        ("last=zz", []),
        ("n=2&last=A//%2F", NAMES[:2]),
    ],
)
async def test_windows_of_the_catalog(
    client: httpx.AsyncClient, query: str, expected: list[str]
) -> None:
    """`last` may be any text."""
    await fill(client)
    response = await client.get(f"{CATALOG}?{query}")
    assert (response.status_code, response.json()["repositories"]) == (200, expected)


async def test_the_catalog_lists_repositories_with_a_manifest(client: httpx.AsyncClient) -> None:
    """Blobs, unfinished uploads and deleted images make no entry; an untagged image does."""
    await push_blob(client, LAYER, "only/blobs")
    await begin(client, name="only/uploads")
    await push_image(client, DIGEST, name="only/untagged")
    await push_image(client, "v1", name="deleted")
    await client.delete(f"/v2/deleted/manifests/{DIGEST}")
    assert (await client.get(CATALOG)).json() == {"repositories": ["only/untagged"]}


async def test_the_configuration_limits_a_page(serve: Serve) -> None:
    """`catalog.maxentries` and `tags.maxtags` apply to any `n`."""
    client = await serve({"catalog": {"maxentries": 3}, "tags": {"maxtags": 4}})
    await fill(client)
    for tag in IN_ORDER:
        await push_manifest(client, tag, MANIFEST, name="a")
    listed = sorted([*IN_ORDER, "v1"])
    for query in ("", "?n=100", "?n=5"):
        assert await followed(client, f"{CATALOG}{query}", "repositories") == cut(NAMES, 3)
        assert await followed(client, f"/v2/a/tags/list{query}", "tags") == cut(listed, 4)
    assert await followed(client, f"{CATALOG}?n=2", "repositories") == cut(NAMES, 2)
