"""Unclean paths are redirected as in registry:2 and registry:3.

Each row was checked with 2.8.2 and 3.1.1, with and without a password, for every method.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.http.redirects import LONGEST, clean, is_clean
from registry_server.wiring.app import build
from tests.support.drivers import AnyDriver
from tests.v2.asgi import Request, ask
from tests.v2.conftest import Serve
from tests.v2.pushes import BASE, DIGEST, refused
from tests.v2.test_dispatch import TELLING

ID = "00000000-0000-4000-8000-000000000000"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# The path and query of a request on the wire, and the Location.
REDIRECTED = [
    ("//", "/"),
    ("//v2", "/v2"),
    ("//v2/", "/v2/"),
    ("//v2//", "/v2/"),
    ("/v2//", "/v2/"),
    ("//v2/?a=b", "/v2/?a=b"),
    ("/./v2/", "/v2/"),
    ("/../v2/", "/v2/"),
    ("/x/../v2/", "/v2/"),
    ("/v2/.", "/v2"),
    ("/v2/..", "/"),
    ("/v2/../", "/"),
    ("/v2//_catalog", "/v2/_catalog"),
    ("/v2/_catalog/", "/v2/_catalog"),
    ("/v2/_catalog//", "/v2/_catalog/"),
    ("//v2/_catalog?n=1", "/v2/_catalog?n=1"),
    (f"{BASE}/tags/list/", f"{BASE}/tags/list"),
    (f"{BASE}/tags/list/?n=1&last=a%2Fb", f"{BASE}/tags/list?n=1&last=a%2Fb"),
    (f"{BASE}/tags/list//", f"{BASE}/tags/list/"),
    (f"/{BASE}/tags/list", f"{BASE}/tags/list"),
    ("///v2///app///tags///list", "/v2/app/tags/list"),
    ("/v2/app/./tags/list", "/v2/app/tags/list"),
    (f"{BASE}/manifests/v1/", f"{BASE}/manifests/v1"),
    (f"{BASE}/manifests//v1", f"{BASE}/manifests/v1"),
    (f"{BASE}/manifests/../tags/list", f"{BASE}/tags/list"),
    (f"{BASE}/blobs/{DIGEST}/", f"{BASE}/blobs/{DIGEST}"),
    (f"{BASE}/blobs/uploads/{ID}/", f"{BASE}/blobs/uploads/{ID}"),
    (f"{BASE}/tags/list%2F", f"{BASE}/tags/list"),
    ("/v2/%2F", "/v2/"),
    ("/%2Fv2/", "/v2/"),
    ("/v2/%2e%2e/v2/", "/v2/"),
    ("//v2/app%2Fb/tags/list", "/v2/app/b/tags/list"),
    ("//v2/app%20b/tags/list", "/v2/app%20b/tags/list"),
    ("//v2/app%0D%0Ab/tags/list", "/v2/app%0D%0Ab/tags/list"),
    ("//v2/a%3Fb/tags/list", "/v2/a%3Fb/tags/list"),
    ("//nothing", "/nothing"),
    ("//auth/token", "/auth/token"),
    # No client is sent to another host.
    ("//elsewhere.example/v2/", "/elsewhere.example/v2/"),
    ("//elsewhere.example/%2e%2e/v2", "/v2"),
    ("/%5Celsewhere.example//v2/", "/%5Celsewhere.example/v2/"),
    ("//%5Celsewhere.example", "/%5Celsewhere.example"),
    ("/%09//elsewhere.example", "/%09/elsewhere.example"),
]


def on_the_wire(method: str, target: str) -> Request:
    """Return a request as a server receives it; clients would resolve `..` themselves."""
    path, _, query = target.partition("?")
    return Request(method, unquote(path), query.encode())


@pytest.mark.parametrize(("target", "location"), REDIRECTED)
async def test_an_odd_path_is_redirected_for_every_method(
    driver: AnyDriver, target: str, location: str
) -> None:
    """301 to a path of the same server, with the same query."""
    app = build(Settings(), driver)
    for method in METHODS:
        answer = await ask(app, on_the_wire(method, target))
        assert (answer.status, answer.headers[b"location"]) == (301, location.encode()), method
        assert answer.body == b""


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v2", 200),
        ("/v2%2F", 200),
        (f"{BASE}/tags", 404),
        (f"{BASE}/tags/", 404),
        (f"{BASE}/manifests/", 404),
        (f"{BASE}/tags/list/%0a", 404),
        ("/nothing/", 404),
        ("/v2/tags/list/", 404),
        ("/v2x/", 404),
    ],
)
async def test_a_path_that_is_not_redirected(
    client: httpx.AsyncClient, target: str, status: int
) -> None:
    """A path without an endpoint stays 404; `/v2` is answered, where both others redirect it."""
    assert (await client.get(target)).status_code == status


@pytest.mark.parametrize(
    "target",
    [
        f"/v2//{'a' * LONGEST}",
        f"//{'a' * LONGEST}",
        f"/v2/_catalog/?last={'a' * LONGEST}",
        f"/v2//{'%C3%A9' * (LONGEST // 6 + 1)}",
    ],
    ids=["below v2", "elsewhere", "query", "quoted"],
)
async def test_a_long_target_is_not_repeated(client: httpx.AsyncClient, target: str) -> None:
    """The response would wait in memory for a client that reads nothing."""
    response = await client.get(f"http://registry{target}")
    assert refused(response) == (414, "UNSUPPORTED")
    assert "location" not in response.headers
    assert len(response.content) < 200


async def test_a_redirect_leads_to_the_content(client: httpx.AsyncClient) -> None:
    """A client that follows it gets it."""
    response = await client.get("http://registry//v2/", follow_redirects=True)
    assert (response.status_code, response.content) == (200, b"{}")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//", "/"),
        ("/reg//v2/", "/reg/v2/"),
        ("//reg/v2/", "/reg/v2/"),
        ("/x/../reg/v2/", "/reg/v2/"),
        ("/reg//", "/reg/"),
        ("/reg/v2/_catalog/?n=1", "/reg/v2/_catalog?n=1"),
        (f"/reg{BASE}/tags/list/", f"/reg{BASE}/tags/list"),
        ("/reg/../v2/", "/v2/"),
        ("/reg/v2/..", "/reg"),
        ("//v2/", "/v2/"),
        ("/reg//elsewhere.example/v2/", "/reg/elsewhere.example/v2/"),
    ],
)
async def test_below_a_prefix(driver: AnyDriver, target: str, location: str) -> None:
    """The prefix is kept, and a path that leads out of it is outside."""
    http = {"prefix": "/reg/", "headers": {"X-Extra": ["a"]}}
    app = build(validated(Settings, {"http": http}), driver)
    answer = await ask(app, on_the_wire("GET", target))
    assert (answer.status, answer.headers[b"location"]) == (301, location.encode())
    assert answer.headers[b"x-extra"] == b"a"


async def test_the_root_is_healthy_with_any_prefix(serve: Serve) -> None:
    """Load balancers request `/`; other paths outside the prefix are 404."""
    client = await serve({"http": {"prefix": "/reg/"}})
    for target in ("/", "/?x=1"):
        assert (await client.get(target)).status_code == 200
        assert (await client.head(target)).status_code == 200
    assert refused(await client.get("/v2/")) == (404, "NAME_UNKNOWN")


segments = st.sampled_from(
    ["", ".", "..", "v2", "a", "\\", "\t", "é", "?", "#", "%", "tags", "list"]
)
any_paths = st.lists(segments | st.text(max_size=3), max_size=7).map(
    lambda parts: f"/{'/'.join(parts)}"
)


@given(any_paths)
async def test_a_redirect_stays_on_this_server_and_ends(path: str) -> None:
    """Its target begins with one slash, and is not redirected again for the same reason."""
    assert is_clean(clean(path))
    assert is_clean(path) == (clean(path) == path)
    answer = await ask(TELLING, Request(path=path, query=b"n=1"))
    if answer.status == 301:
        location = answer.headers[b"location"].decode()
        assert re.fullmatch(r"/(?!/)[A-Za-z0-9._~%/:@&=+$,-]*\?n=1", location)
