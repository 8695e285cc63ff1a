"""Effects of `http` settings on responses: headers, host, relative URLs, prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.wiring.app import build
from tests.support.drivers import AnyDriver
from tests.support.wire import sha256
from tests.v2.asgi import Request, ask
from tests.v2.conftest import Serve
from tests.v2.pushes import BASE, DIGEST, LAYER, MANIFEST, ORIGIN, UPLOADS, push_image, refused

HOST = "https://registry.example.com"
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.example.com"}
SIGNS = ("Via", "X-Real-IP", "Forwarded", "X-Forwarded-For", "X-Forwarded-Server")


async def locations(
    client: httpx.AsyncClient, before: str = "", headers: Mapping[str, str] | None = None
) -> list[str]:
    """Return every Location of a push: started, appended, status, mounted, finished, tagged."""
    send = dict(headers or {})
    begun = await client.post(f"{before}{UPLOADS}", headers=send)
    id = begun.headers["Docker-Upload-UUID"]
    upload = f"{before}{UPLOADS}{id}"
    sent = await client.patch(upload, content=LAYER, headers=send)
    asked = await client.get(upload, headers=send)
    done = await client.put(f"{upload}?digest={sha256(LAYER)}", headers=send)
    mounted = await client.post(f"{before}/v2/b/blobs/uploads/?mount={sha256(LAYER)}", headers=send)
    manifest = MANIFEST.replace(b'"config": {', b'"config": {"x": 1,')
    await client.post(f"{before}{UPLOADS}?digest={sha256(b'')}", headers=send)
    tagged = await push_tag(client, before, send, manifest)
    answers = [begun, sent, asked, done, mounted, tagged]
    return [answer.headers["Location"].replace(id, "ID") for answer in answers]


async def push_tag(
    client: httpx.AsyncClient, before: str, headers: dict[str, str], manifest: bytes
) -> httpx.Response:
    """Push an empty index with a tag."""
    index = b'{"schemaVersion":2,"manifests":[]}'
    return await client.put(f"{before}{BASE}/manifests/v1", content=index, headers=headers)


def expected(before: str) -> list[str]:
    """Return the Locations of a push if URLs begin with `before`."""
    index = sha256(b'{"schemaVersion":2,"manifests":[]}')
    return [
        *(f"{before}{UPLOADS}ID?_state=at.{held}" for held in (0, len(LAYER), len(LAYER))),
        f"{before}{BASE}/blobs/{sha256(LAYER)}",
        f"{before}/v2/b/blobs/{sha256(LAYER)}",
        f"{before}{BASE}/manifests/{index}",
    ]


NEAR, FAR = {"trustedproxies": ["127.0.0.1"]}, {"trustedproxies": ["10.0.0.0/8", "::1"]}
ABSOLUTE, RELATIVE = {"relativeurls": "false"}, {"relativeurls": "true"}
PASSED_ON = {"X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("http", "headers", "before"),
    [
        # Without settings: the host of the request, unless a proxy may have changed it.
        ({}, {}, ORIGIN),
        ({}, {"Host": "there:81"}, "http://there:81"),
        ({}, {"Host": "[::1]:5000"}, "http://[::1]:5000"),
        ({}, {"Host": "evil.example.com/x"}, ""),
        ({}, {"Host": "a.example, b.example"}, ""),
        ({}, {"Host": ""}, ""),
        ({}, FORWARDED, ""),
        *[({}, {sign: "x"}, "") for sign in SIGNS],
        *[(NEAR, {sign: "x"}, "") for sign in SIGNS],
        # A trusted proxy sets it.
        (NEAR, {}, ORIGIN),
        (NEAR, FORWARDED, HOST),
        (NEAR, PASSED_ON, "https://registry"),
        (NEAR, {**PASSED_ON, "Via": "1.1 a", "X-Real-IP": "192.0.2.1"}, "https://registry"),
        (NEAR, {"X-Forwarded-Host": "a.example"}, ""),
        (NEAR, {"X-Forwarded-For": "192.0.2.1"}, ""),
        (NEAR, {"X-Forwarded-Proto": "wss"}, ""),
        (NEAR, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a b"}, ""),
        (NEAR, {"Forwarded": "for=192.0.2.1;proto=https;host=registry.example.com"}, HOST),
        (FAR, FORWARDED, ""),
        (FAR, PASSED_ON, ""),
        # As in CNCF distribution: true and false, and a host that wins over both.
        (RELATIVE, {}, ""),
        (RELATIVE, FORWARDED, ""),
        ({**RELATIVE, **NEAR}, FORWARDED, ""),
        ({**RELATIVE, "host": HOST}, {}, HOST),
        ({"host": HOST}, {}, HOST),
        ({"host": f"{HOST}/"}, {"X-Forwarded-Host": "a.example"}, HOST),
        ({**ABSOLUTE, "host": HOST}, {"X-Forwarded-Host": "a.example"}, HOST),
        (ABSOLUTE, {}, ORIGIN),
        (ABSOLUTE, {"Host": "there:81"}, "http://there:81"),
        (ABSOLUTE, {"Host": "evil.example.com/x"}, ""),
        (ABSOLUTE, FORWARDED, HOST),
        (ABSOLUTE, PASSED_ON, "https://registry"),
        (ABSOLUTE, {"X-Forwarded-For": "192.0.2.1", "Via": "1.1 a"}, ORIGIN),
        (ABSOLUTE, {"X-Forwarded-Host": "a b"}, ""),
        (ABSOLUTE, {"X-Forwarded-Proto": "javascript"}, ORIGIN),
        (ABSOLUTE, {"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a.example , b"},
         "https://a.example"),
        (ABSOLUTE, {"Forwarded": 'for=192.0.2.1;proto=https;host="registry.example.com"'}, HOST),
        ({**ABSOLUTE, **FAR}, FORWARDED, HOST),
        ({**ABSOLUTE, **NEAR}, FORWARDED, HOST),
    ],
)  # fmt: skip
async def test_the_base_of_a_location(
    serve: Serve, http: dict[str, Any], headers: dict[str, str], before: str
) -> None:
    """The configured host; else the host of the request if that is certain; else none."""
    client = await serve({"http": http})
    assert await locations(client, headers=headers) == expected(before)


@pytest.mark.parametrize(
    ("http", "said", "before"),
    [({}, {}, ""), (NEAR, FORWARDED, HOST), (RELATIVE, {}, ""), (ABSOLUTE, {}, ORIGIN)],
)
async def test_http_1_0_is_a_sign_of_a_proxy(
    driver: AnyDriver, http: dict[str, Any], said: dict[str, str], before: str
) -> None:
    """nginx uses it by default, without a header that shows the proxy."""
    app = build(validated(Settings, {"http": http}), driver)
    headers = {"Host": "registry", **said}
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    answer = await ask(app, Request("POST", UPLOADS, headers=sent, version="1.0"))
    assert answer.headers[b"location"].decode().startswith(f"{before}{UPLOADS}")


@pytest.mark.parametrize("prefix", ["/registry/", "registry", "/registry"])
@pytest.mark.parametrize("host", ["", HOST])
async def test_every_location_has_the_prefix(serve: Serve, prefix: str, host: str) -> None:
    """All paths are under the prefix."""
    client = await serve({"http": {"prefix": prefix, "host": host}})
    found = await locations(client, before="/registry")
    assert found == expected(f"{host or ORIGIN}/registry")


async def test_a_prefix_changes_nothing_else(serve: Serve) -> None:
    """The base, its API version, the links of listings and errors are the same below the prefix."""
    client = await serve({"http": {"prefix": "/deep/er/"}})
    base = await client.get("/deep/er/v2/")
    assert (base.status_code, base.content) == (200, b"{}")
    assert base.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    for tag in ("a", "b"):
        await client.put(f"/deep/er{BASE}/manifests/{tag}",
                         content=b'{"schemaVersion":2,"manifests":[]}')  # fmt: skip
    page = await client.get(f"/deep/er{BASE}/tags/list?n=1")
    assert page.headers["Link"] == f'</deep/er{BASE}/tags/list?n=1&last=a>; rel="next"'
    refusal = await client.get(f"/deep/er{BASE}/blobs/x")
    assert refused(refusal) == (400, "DIGEST_INVALID")
    assert refusal.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize(
    "path", ["/v2/", f"{BASE}/tags/list", "/registryv2/", "/registry", "/other/registry/v2/"]
)
async def test_nothing_is_served_outside_the_prefix(serve: Serve, path: str) -> None:
    """Other paths are 404."""
    client = await serve({"http": {"prefix": "/registry/"}})
    assert refused(await client.get(path)) == (404, "NAME_UNKNOWN")


async def test_configured_headers_are_on_every_answer(serve: Serve) -> None:
    """Successes, errors, files and paths outside `/v2/`; several values stay several."""
    settings = {"http": {"headers": {"X-Content-Type-Options": ["nosniff"], "X-Two": ["a", "b"]}}}
    client = await serve(settings)
    await push_image(client, "v1")
    paths = ("/", "/v2/", "/nothing", f"{BASE}/manifests/v1", f"{BASE}/manifests/{DIGEST[:-1]}",
             f"{BASE}/blobs/{sha256(LAYER)}", "/v2/_catalog")  # fmt: skip
    for path in paths:
        for method in ("GET", "HEAD", "OPTIONS"):
            response = await client.request(method, path)
            assert response.headers["X-Content-Type-Options"] == "nosniff", (method, path)
            assert response.headers.get_list("X-Two") == ["a", "b"], (method, path)


@pytest.mark.parametrize("peer", [None, ("not an address", 0), ("", 0), ("fe80::1%eth0", 1)])
async def test_a_peer_without_an_address_is_not_trusted(
    driver: AnyDriver, peer: tuple[str, int] | None
) -> None:
    """A proxy behind a unix socket has no address to be trusted by."""
    settings = {"http": {"trustedproxies": ["0.0.0.0/0", "::/0"]}}
    app = build(validated(Settings, settings), driver)
    transport = httpx.ASGITransport(app=app, client=peer)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        forwarded = await client.post(UPLOADS, headers=FORWARDED)
        plain = await client.post(UPLOADS)
    has_address = peer is not None and "%" in peer[0]
    assert forwarded.headers["Location"].startswith(HOST if has_address else UPLOADS)
    assert plain.headers["Location"].startswith(ORIGIN if has_address else UPLOADS)
