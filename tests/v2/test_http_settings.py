"""What `http` of the configuration does to answers: headers, host, relative URLs, prefix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from registry_server.app import build
from registry_server.config import Settings
from tests.support.drivers import AnyDriver
from tests.support.wire import sha256
from tests.v2.conftest import Serve
from tests.v2.pushes import BASE, DIGEST, LAYER, MANIFEST, UPLOADS, push_image, refused

HOST = "https://registry.example.com"
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "registry.example.com"}


async def locations(
    client: httpx.AsyncClient, before: str = "", headers: Mapping[str, str] | None = None
) -> list[str]:
    """Return every Location of a push: begun, sent, asked, mounted, finished, tagged."""
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
    """Push an index of nothing under a tag."""
    index = b'{"schemaVersion":2,"manifests":[]}'
    return await client.put(f"{before}{BASE}/manifests/v1", content=index, headers=headers)


def expected(before: str) -> list[str]:
    """Return the Locations of a push where URLs begin with `before`."""
    index = sha256(b'{"schemaVersion":2,"manifests":[]}')
    return [
        *[f"{before}{UPLOADS}ID"] * 3,
        f"{before}{BASE}/blobs/{sha256(LAYER)}",
        f"{before}/v2/b/blobs/{sha256(LAYER)}",
        f"{before}{BASE}/manifests/{index}",
    ]


@pytest.mark.parametrize(
    ("http", "headers", "before"),
    [
        ({}, {}, ""),
        ({}, {"Host": "evil.example.com"}, ""),
        ({}, FORWARDED, ""),
        ({"relativeurls": "true"}, FORWARDED, ""),
        ({"relativeurls": "true", "host": HOST}, {}, ""),
        ({"host": HOST}, {}, HOST),
        ({"host": f"{HOST}/"}, FORWARDED, HOST),
        ({"host": HOST, "relativeurls": "false"}, FORWARDED, HOST),
        ({"relativeurls": "false"}, {}, "http://registry"),
        ({"relativeurls": "false"}, {"Host": "there:81"}, "http://there:81"),
        ({"relativeurls": "false"}, FORWARDED, "http://registry"),
        ({"relativeurls": "false", "trustedproxies": ["10.0.0.0/8"]}, FORWARDED, "http://registry"),
        ({"relativeurls": "false", "trustedproxies": ["127.0.0.1"]}, FORWARDED, HOST),
        ({"relativeurls": "false", "trustedproxies": ["10.0.0.0/8", "127.0.0.0/8"]},
         {"X-Forwarded-Proto": "https"}, "https://registry"),
        ({"relativeurls": "false", "trustedproxies": ["127.0.0.1"]},
         {"X-Forwarded-Proto": "https, http", "X-Forwarded-Host": "a.example.com , b"},
         "https://a.example.com"),
        ({"relativeurls": "false", "trustedproxies": ["127.0.0.1"]}, {}, "http://registry"),
        ({"relativeurls": "false", "trustedproxies": ["127.0.0.1"]},
         {"X-Forwarded-Proto": "wss"}, "http://registry"),
        ({"relativeurls": "false", "trustedproxies": ["127.0.0.1"]},
         {"Forwarded": 'for=192.0.2.1;proto=https;host="registry.example.com"'}, HOST),
        ({"relativeurls": "false", "trustedproxies": ["10.0.0.0/8"]},
         {"Forwarded": "proto=https;host=registry.example.com"}, "http://registry"),
        ({"relativeurls": "false", "trustedproxies": ["::1"]}, FORWARDED, "http://registry"),
    ],
)  # fmt: skip
async def test_where_a_client_is_sent(
    serve: Serve, http: dict[str, Any], headers: dict[str, str], before: str
) -> None:
    """Relative by default; the configured host; else the request's, forwarded only if trusted."""
    client = await serve({"http": http})
    assert await locations(client, headers=headers) == expected(before)


@pytest.mark.parametrize("prefix", ["/registry/", "registry", "/registry"])
@pytest.mark.parametrize("host", ["", HOST])
async def test_a_prefix(serve: Serve, prefix: str, host: str) -> None:
    """Everything lies under the prefix, and every Location says so."""
    client = await serve({"http": {"prefix": prefix, "host": host}})
    found = await locations(client, before="/registry")
    assert found == expected(f"{host}/registry")


async def test_a_prefix_changes_nothing_else(serve: Serve) -> None:
    """The base, its API version, the links of a listing and refusals, all below the prefix."""
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
    """What is not below the prefix is not there."""
    client = await serve({"http": {"prefix": "/registry/"}})
    assert refused(await client.get(path)) == (404, "NAME_UNKNOWN")


async def test_configured_headers_are_on_every_answer(serve: Serve) -> None:
    """Successes, refusals, files and what is outside `/v2/`; several values stay several."""
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
    """Behind a unix socket there is no peer address: what it forwards is not believed."""
    settings = {"http": {"relativeurls": "false", "trustedproxies": ["0.0.0.0/0", "::/0"]}}
    app = build(Settings.model_validate(settings), driver)
    transport = httpx.ASGITransport(app=app, client=peer)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        response = await client.post(UPLOADS, headers=FORWARDED)
    trusted = peer is not None and "%" in peer[0]
    assert response.headers["Location"].startswith(HOST if trusted else "http://registry/")
