"""Vulnerabilities of registries with web pages, browser logins and outgoing requests.

This registry has none of these, and no request can create one.
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio import to_thread
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest

from registry_server.access.tokens.signing_keys import load_signing_key
from tests.access.conftest import DELETABLE, Files, Guarded, basic, bearer
from tests.access.test_lessons import HOSTS, put, token
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.pushes import CONFIG, LAYER, MANIFEST, refused

UPLOADS = "/v2/home/writer/x/blobs/uploads/"
SCRIPT = b"<html><script>alert(document.domain)</script>"


async def test_browsers_store_nothing_that_another_page_could_use(guarded: Guarded) -> None:
    """CVE-2019-19025: no response sets a cookie, and cookies of requests are ignored."""
    client = await guarded({"http": {"cors": {"origins": ["https://ui.example.com"]}}})
    given = (await token(client, "repository:team/app:pull", basic("reader")))["token"]
    answers = [
        await client.get("/v2/", headers=basic("writer")),
        await client.get("/v2/"),
        await client.post(UPLOADS, headers=basic("writer")),
        await client.post("/auth/token", data={"grant_type": "refresh_token"}),
    ]
    assert not [each for each in answers if "set-cookie" in each.headers]
    cookie = f"token={given}; session={given}; Authorization=Bearer {given}"
    for origin in ("https://ui.example.com", "https://elsewhere.example.com"):
        for method, path in (("GET", "/v2/"), ("POST", UPLOADS), ("GET", "/v2/team/app/tags/list")):
            shown = {"Cookie": cookie, "Origin": origin}
            answer = await client.request(method, path, headers=shown)
            is_foreign = method == "POST" and "elsewhere" in origin
            expected = (403, "DENIED") if is_foreign else (401, "UNAUTHORIZED")
            assert refused(answer) == expected


DEFAULTS = [
    ("admin", "admin"), ("admin", "password"), ("admin", "Harbor12345"), ("admin", ""),
    ("root", "root"), ("registry", "registry"), ("user", "password"), ("robot$admin", "admin"),
]  # fmt: skip


@pytest.mark.parametrize("access", [{}, {"rules": [{"users": ["*"], "actions": ["*"]}]}])
async def test_there_is_no_built_in_account(guarded: Guarded, access: Mapping[str, Any]) -> None:
    """CVE-2026-4404: no well-known name and password is accepted."""
    client = await guarded({"access": access})
    for pair in DEFAULTS:
        for path in ("/v2/", "/v2/_catalog", "/v2/team/app/tags/list"):
            assert refused(await client.get(path, auth=pair)) == (401, "UNAUTHORIZED")
        if access:
            assert (await client.get("/auth/token", auth=pair)).status_code == 401


async def test_without_users_no_login_succeeds(guarded: Guarded, files: Files) -> None:
    """CVE-2026-4404: an empty file of users admits no caller."""
    await to_thread(files.users.write_text, "# nobody yet\n")
    client = await guarded({"access": {}})
    for shown in ({}, basic("admin", "admin and more")):
        assert refused(await client.get("/v2/", headers=shown)) == (401, "UNAUTHORIZED")


ODD_PATHS = [
    "//elsewhere.example/v2/team/app/tags/list",
    "/\\elsewhere.example/v2/",
    "//elsewhere.example",
    "/v2//elsewhere.example/blobs/uploads/",
    "/v2/\\\\elsewhere.example\\x/blobs/uploads/",
    "/v2/http://elsewhere.example/blobs/uploads/",
]


async def test_no_client_is_redirected_elsewhere(guarded: Guarded) -> None:
    """9425ca8b, fea81a55: neither by a Host, nor by headers of proxies, nor by a path."""
    client = await guarded({"catalog": {"maxentries": 1}})
    for name in ("team/a", "team/b"):
        await _push(client, name)
    for host in ("elsewhere.example", *HOSTS):
        odd = {**basic("admin"), "Host": host, "X-Forwarded-Host": "elsewhere.example"}
        begun = await client.post(UPLOADS, headers=odd)
        assert begun.headers["Location"].startswith(UPLOADS)
        page = await client.get("/v2/_catalog", headers=odd)
        assert page.headers["Link"].startswith("</v2/_catalog?")
    for path in ODD_PATHS:
        for method in ("GET", "POST", "PUT"):
            answer = await client.request(method, f"http://registry{path}", headers=basic("admin"))
            assert answer.status_code == 301 or 400 <= answer.status_code < 500
            location = answer.headers.get("location", "/")
            assert re.fullmatch(r"/([^/\\].*)?", location)


@pytest.mark.parametrize("path", ["//v2/", "/v2/_catalog/", "/v2/team/app/tags/list/", "//"])
async def test_a_redirect_reveals_nothing(guarded: Guarded, path: str) -> None:
    """It is sent before authentication, as in distribution, whatever exists."""
    client = await guarded({})
    for shown in ({}, basic("admin"), basic("admin", "wrong")):
        answer = await client.get(f"http://registry{path}", headers=shown)
        assert (answer.status_code, answer.content) == (301, b"")
    plain = await client.get(f"http://registry{path}", follow_redirects=True)
    assert plain.status_code == (200 if path == "//" else 401)


async def test_pushed_content_is_no_page(guarded: Guarded) -> None:
    """GHSA-f9vc-vf3r-pqqq: a script is a download, and no manifest has a page's type."""
    client = await guarded({})
    digest = await _push(client, "team/app", SCRIPT)
    browser = {**basic("reader"), "Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    blob = await client.get(f"/v2/team/app/blobs/{digest}", headers=browser)
    assert blob.content == SCRIPT
    assert blob.headers["content-type"] == "application/octet-stream"
    for kind in ("text/html", "image/svg+xml", "application/xhtml+xml", "text/html;charset=utf-8"):
        headers = {**basic("writer"), "Content-Type": kind}
        pushed = await client.put("/v2/team/app/manifests/v2", content=MANIFEST, headers=headers)
        assert refused(pushed) == (400, "MANIFEST_INVALID")
    echoes = f"/v2/team/app/manifests/{SCRIPT.decode()}"
    for path in (echoes, "/v2/<script>/tags/list", "/auth/token?service=<script>"):
        answer = await client.get(path, headers=browser)
        assert answer.status_code >= 400
        assert answer.headers["content-type"] == "application/json"


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[str, list[object]]]:
    """Yield a URL and the list of its visitors."""
    came: list[object] = []

    def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(come, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/", came


async def test_no_url_of_a_client_is_fetched(guarded: Guarded, files: Files) -> None:
    """CVE-2026-32591, 3448fd9a: neither foreign layers, nor the keys that a token points to."""
    client = await guarded(DELETABLE)
    await _push(client, "team/app")
    key = await to_thread(load_signing_key, files.key)
    async with listening() as (url, came):
        layer = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                 "digest": sha256(b"not here"), "size": 8, "urls": [url]}  # fmt: skip
        document = json.dumps({**json.loads(MANIFEST), "layers": [layer]}).encode()
        await put(client, "team/app", "foreign", document, basic("writer"))
        await client.post(f"{UPLOADS}?mount={sha256(LAYER)}&from={url}", headers=basic("writer"))
        for where in ("jku", "x5u"):
            forged = jwt.encode({"sub": "admin"}, key.private, "ES256", {where: url})
            answer = await client.get("/v2/", headers=bearer(forged))
            assert refused(answer) == (401, "UNAUTHORIZED")
        shown = {**basic("writer"), "Host": url[7:-1], "X-Forwarded-Host": url[7:-1]}
        assert (await client.get("/v2/team/app/manifests/v1", headers=shown)).status_code == 200
        assert came == []
        # A visitor would be recorded.
        async with httpx.AsyncClient() as visitor:
            with pytest.raises(httpx.HTTPError):
                await visitor.get(url)
        assert len(came) == 1


async def _push(client: httpx.AsyncClient, name: str, blob: bytes = LAYER) -> str:
    """Push an image and another blob; return the digest of the blob."""
    for content in (LAYER, CONFIG, blob):
        target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
        pushed = await client.post(target, content=content, headers=basic("admin"))
        assert pushed.status_code == 201
    headers = {**basic("admin"), "Content-Type": OCI_MANIFEST}
    pushed = await client.put(f"/v2/{name}/manifests/v1", content=MANIFEST, headers=headers)
    assert pushed.status_code == 201
    return sha256(blob)
