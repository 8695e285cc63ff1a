"""A web page of a foreign origin can't change anything with its visitor's credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from registry_server.http.cross_site import CrossSite
from tests.access.conftest import PASSWORDS, Files, Guarded, basic, bearer
from tests.access.test_caches import push
from tests.access.test_lessons import token
from tests.support.app import lived
from tests.support.drivers import AnyDriver
from tests.support.wire import sha256
from tests.v2.asgi import Request, ask
from tests.v2.pushes import LAYER, refused

UI, EVIL = "https://ui.example.com", "https://evil.example.com"
OWN = {"Origin": "http://registry"}  # of the URL that the tests' client asks
BLOB = sha256(LAYER)
MOUNT = f"/v2/public/app/blobs/uploads/?mount={BLOB}&from=team/secret"
UPLOADS = "/v2/team/app/blobs/uploads/"
DENIED = (403, "DENIED")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Types that browser features send without a preflight: the ping of a link, and reports.
UNASKED = ("text/ping", "application/csp-report", "application/reports+json", "text/event-stream")
CHANGES: Sequence[tuple[str, str]] = (
    ("POST", UPLOADS),
    ("PATCH", f"{UPLOADS}01234567-89ab-4def-8123-456789abcdef"),
    ("PUT", "/v2/team/app/manifests/v1"),
    ("DELETE", "/v2/team/app/manifests/v1"),
    ("DELETE", f"/v2/team/app/blobs/{BLOB}"),
    ("POST", "/auth/token"),
    ("POST", "/api/v1/robots"),
    ("DELETE", "/api/v1/robots/ci"),
)
# Pages of origins that are neither the registry's own nor configured.
FOREIGN: Sequence[tuple[tuple[str, str], ...]] = (
    (("Origin", EVIL),),
    (("Origin", "null"),),
    (("Origin", "http://registry.evil.example.com"),),
    (("Origin", "http://registry:5000"),),
    (("Origin", "http://registry/"),),
    (("Origin", "http://user@registry"),),
    (("Origin", "registry"),),
    (("Origin", "http://"),),
    (("Origin", "chrome-extension://registry"),),
    (("Origin", "http://registry"), ("Origin", EVIL)),
    (("Origin", EVIL), ("Origin", "http://registry")),
    (("Origin", f"http://registry, {EVIL}"),),
    (("Sec-Fetch-Site", "cross-site"),),
    (("Sec-Fetch-Site", "same-site"),),
    (("Sec-Fetch-Site", "SAME-ORIGIN"),),
    (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")),
    (("Sec-Fetch-Site", "cross-site"), ("Origin", EVIL)),
    (("Sec-Fetch-Site", "same-site"), ("Origin", "http://registry")),
)


def by_cors(*origins: str) -> dict[str, Any]:
    """Allow origins by `http.cors`."""
    return {"http": {"cors": {"origins": list(origins)}}}


def by_headers(*origins: str) -> dict[str, Any]:
    """Allow origins by `http.headers`, as configurations of registry:2 do."""
    return {"http": {"headers": {"access-control-Allow-Origin": list(origins)}}}


async def _statuses(
    client: httpx.AsyncClient, page: Sequence[tuple[str, str]], shown: Mapping[str, str]
) -> set[tuple[int, str]]:
    """Return the statuses of changes that a page requests."""
    found = set()
    for method, path in CHANGES:
        headers = [*shown.items(), *page]
        answer = await client.request(method, path, headers=headers)
        found.add(refused(answer) if answer.status_code >= 400 else (answer.status_code, ""))
    return found


async def test_a_page_publishes_no_private_blob(guarded: Guarded) -> None:
    """Not by the mount that a form or a script of any page sends with a stored password."""
    client = await guarded({})
    await push(client, "team/secret", basic("admin"))
    for page in ({"Origin": EVIL, **FORM}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await client.post(MOUNT, headers={**basic("admin"), **page})
        assert refused(answer) == DENIED
    assert (await client.get(f"/v2/public/app/blobs/{BLOB}")).status_code == 404
    assert (await client.post(MOUNT, headers=basic("admin"))).status_code == 201


async def test_a_page_of_a_foreign_origin_changes_nothing(guarded: Guarded) -> None:
    """No image, no robot, no login by a guessed password, whatever credentials the browser adds."""
    client = await guarded(by_cors(UI))
    for page in FOREIGN:
        for shown in ({}, basic("admin"), {"Authorization": "Bearer"}, basic("admin", "wrong")):
            assert await _statuses(client, page, shown) == {DENIED}, page


@pytest.mark.parametrize("more", [{"access": {}}, {"auth": {}, "access": {"rules": []}}])
async def test_every_kind_of_access_control_is_protected(
    guarded: Guarded, more: Mapping[str, Any]
) -> None:
    """With users alone and with rules."""
    client = await guarded(more)
    answer = await client.post(UPLOADS, headers={"Origin": EVIL})
    assert refused(answer) == DENIED


async def test_required_client_certificates_are_access_control(guarded: Guarded) -> None:
    """A browser adds a certificate to the POST of any page, like a password."""
    tls = {"certificate": "/c", "key": "/k", "clientcas": ["/a"]}
    client = await guarded({"auth": {}, "access": {}, "http": {"tls": tls}})
    assert refused(await client.post(UPLOADS, headers={"Origin": EVIL})) == DENIED
    assert (await client.post(UPLOADS)).status_code == 202
    if_given = {**tls, "clientauth": "verify-client-cert-if-given"}
    client = await guarded({"auth": {}, "access": {}, "http": {"tls": if_given}})
    assert (await client.post(UPLOADS, headers={"Origin": EVIL})).status_code == 202


async def test_without_access_control_pages_may_do_what_all_clients_may(guarded: Guarded) -> None:
    """As with registry:2: a browser has no credentials to add."""
    client = await guarded({"auth": {}, "access": {}})
    answer = await client.post(UPLOADS, headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 202


async def test_reads_need_no_origin(guarded: Guarded) -> None:
    """They change nothing, and the browser withholds the response from the page."""
    client = await guarded({})
    page = {**basic("admin"), "Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    for method in ("GET", "HEAD", "OPTIONS"):
        for path in ("/v2/", "/auth/token", "/"):
            assert (await client.request(method, path, headers=page)).status_code == 200


OURS: Mapping[str, Sequence[Mapping[str, str]]] = {
    "": (
        {},
        {"Origin": ""},
        OWN,
        {"Origin": "http://REGISTRY"},
        {"Origin": "http://registry:80"},
        {"Origin": "https://registry"},
        {"Origin": "https://registry:443"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": ""},
        {"Host": "Registry:5000", "Origin": "http://registry:5000"},
        {"Host": "registry:443", "Origin": "https://registry"},
        {"Host": "[::1]:5000", "Origin": "http://[::1]:5000"},
        {"Host": "registry:80", "Origin": "http://registry"},
        {"Origin": UI, "X-Forwarded-Host": "ui.example.com"},
        {"Origin": UI, "Forwarded": "for=10.0.0.1;proto=https;host=ui.example.com"},
    ),
    "https://Hub.example.com/below": (
        {"Origin": "https://hub.example.com"},
        {"Origin": "https://hub.example.com", "Sec-Fetch-Site": "same-site"},
        OWN,
    ),
    "https://hub.example.com:443": ({"Origin": "https://hub.example.com"},),
    "https://user@hub.example.com/": ({"Origin": "https://hub.example.com"},),
    "http://hub.example.com:8080": ({"Origin": "http://hub.example.com:8080"},),
}


@pytest.mark.parametrize("host", OURS)
async def test_pages_of_the_registrys_own_origin_are_allowed(guarded: Guarded, host: str) -> None:
    """By each name that clients have for the registry, also for management."""
    client = await guarded({"http": {"host": host}})
    for page in OURS[host]:
        begun = await client.post(UPLOADS, headers={**basic("admin"), **page})
        assert begun.status_code == 202, page
        robot = await client.post("/api/v1/robots", json={}, headers={**basic("admin"), **page})
        assert robot.status_code == 400, page


@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("https://hub.example.com", {"Origin": "http://hub.example.com"}),
        ("https://hub.example.com", {"Origin": "https://hub.example.com:8443"}),
        ("", {"Origin": "http://registry", "X-Forwarded-Proto": "https"}),
        ("", {"Host": "registry:5000", "Origin": "http://registry"}),
    ],
)
async def test_another_scheme_or_port_is_another_origin(
    guarded: Guarded, host: str, page: Mapping[str, str]
) -> None:
    """A page over plain HTTP is foreign to a registry that is known to use TLS."""
    client = await guarded({"http": {"host": host}})
    assert refused(await client.post(UPLOADS, headers={**basic("admin"), **page})) == DENIED


async def test_over_tls_a_page_over_plain_http_is_foreign() -> None:
    """The registry ends TLS itself, so the scheme is known."""
    passed = await _passes({"scheme": "https"}, [(b"origin", b"https://registry")])
    assert passed
    assert not await _passes({"scheme": "https"}, [(b"origin", b"http://registry")])


@pytest.mark.parametrize("more", [by_cors(UI), by_headers(UI), by_headers(UI.upper() + ":443")])
async def test_pages_of_a_configured_origin_are_allowed(
    guarded: Guarded, more: Mapping[str, Any]
) -> None:
    """For changes of images, not for management."""
    client = await guarded(more)
    for site in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        page = {**basic("admin"), "Origin": UI, **site}
        assert (await client.post(UPLOADS, headers=page)).status_code == 202
        assert refused(await client.post("/api/v1/robots", headers=page)) == DENIED
        other = {**page, "Origin": EVIL}
        assert refused(await client.post(UPLOADS, headers=other)) == DENIED


@pytest.mark.parametrize("more", [by_cors("*"), by_headers("*"), by_headers("null")])
async def test_an_origin_of_every_page_is_allowed_after_a_preflight(
    guarded: Guarded, more: Mapping[str, Any]
) -> None:
    """With `*` a browser adds credentials only to a simple POST, which has no preflight."""
    client = await guarded(more)
    origins = ("null",) if more == by_headers("null") else ("null", EVIL)
    for origin in origins:
        page = {**basic("admin"), "Origin": origin}
        gone = await client.delete("/v2/team/app/manifests/v1", headers=page)
        assert refused(gone) == (405, "UNSUPPORTED")
        for type_ in ("application/octet-stream", "Application/JSON; charset=utf-8"):
            asked = {**page, "Content-Type": type_}
            assert (await client.post(UPLOADS, headers=asked)).status_code == 202
        for simple in ("", "text/plain", "Text/Plain; charset=utf-8", *FORM.values(),
                       "multipart/form-data; boundary=x", *UNASKED):  # fmt: skip
            headers = {**page, "Content-Type": simple} if simple else page
            assert refused(await client.post(UPLOADS, headers=headers)) == DENIED
        assert refused(await client.delete("/api/v1/robots/ci", headers=page)) == DENIED
    if more == by_headers("null"):
        page = {**basic("admin"), "Origin": EVIL}
        assert refused(await client.delete("/v2/team/app/manifests/v1", headers=page)) == DENIED


async def test_a_bearer_token_is_not_added_by_a_browser(guarded: Guarded) -> None:
    """A page with a token got it from its user; two headers are refused as before."""
    client = await guarded({})
    had = (await token(client, "repository:team/app:pull,push", basic("writer")))["token"]
    page = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    begun = await client.post(UPLOADS, headers={**page, **bearer(had)})
    assert begun.status_code == 202
    both = [*page.items(), *bearer(had).items(), *basic("admin").items()]
    assert refused(await client.post(UPLOADS, headers=both)) == DENIED


async def test_a_refusal_is_a_line_of_the_audit_log(
    tmp_path: Path, files: Files, driver: AnyDriver
) -> None:
    """It names the action and the key; credentials were not checked."""
    log = tmp_path / "audit.log"
    more = {"audit": {"enabled": True, "file": log}}
    settings = await asyncio.to_thread(files.settings, more)
    async with lived(settings, driver) as client:
        await client.post(MOUNT, headers={**basic("admin"), "Origin": EVIL})
    (line,) = map(json.loads, (await asyncio.to_thread(log.read_text)).splitlines())
    names = ("who", "action", "repository", "rule", "outcome", "status")
    assert [line[name] for name in names] == [
        "", "push", "public/app", "http.cors", "refused", 403,
    ]  # fmt: skip


async def test_wrong_passwords_from_pages_are_not_counted(guarded: Guarded) -> None:
    """A page can't lock out its visitor's address with forms of wrong passwords."""
    client = await guarded({"limits": {"logins": {"failures": 2}}})
    form = {"grant_type": "password", "username": "admin", "password": "wrong"}
    for _ in range(5):
        answer = await client.post("/auth/token", data=form, headers={"Origin": EVIL})
        assert refused(answer) == DENIED
    right = {**form, "password": PASSWORDS["admin"]}
    assert (await client.post("/auth/token", data=right)).status_code == 200


async def test_each_origin_is_logged_once(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    """With the line to add, for origins of the web, up to a limit."""
    client = await guarded({})
    odd = ("null", "x", f"{EVIL}/", f"{EVIL} x", f"{EVIL}\tx", f'{EVIL}"')
    for origin in (*odd, EVIL, EVIL, *(f"https://{at}.example.com" for at in range(40))):
        await client.post(UPLOADS, headers={"Origin": origin})
    told = [each.getMessage() for each in caplog.records if "web page" in each.getMessage()]
    assert len(told) == 16
    assert f'http: {{cors: {{origins: ["{EVIL}"]}}}}' in told[0]
    assert EVIL not in told[1]


async def _passes(more: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a POST with such headers is accepted."""
    passed = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def changed(scope: Scope, receive: Receive, send: Send) -> None:
        await CrossSite(inner, [UI, "*"], "", "/api/")({**scope, **more}, receive, send)

    request = Request("POST", "/v2/", b"", [(b"host", b"registry"), *headers])
    answer = await ask(changed, request)
    assert answer.status == (200 if passed else 403)
    return bool(passed)


TEXTS = st.sampled_from(
    [b"null", b"*", b"", b"http://", b"https://", b"registry", b"ui.example.com", b":80", b":443",
     b"evil.example", b"/", b"@", b".", b",", b" ", b"\xff", b"\t", b"[::1]", b"HTTPS://"]
)  # fmt: skip


@given(st.lists(TEXTS, max_size=5).map(b"".join), st.lists(TEXTS, max_size=3).map(b"".join))
async def test_no_other_spelling_of_an_origin_is_accepted(origin: bytes, host: bytes) -> None:
    """A simple POST is accepted only for the configured and the own origin."""
    headers = [(b"origin", origin), (b"x-forwarded-host", host)]
    found = await _passes({}, headers)
    text = origin.decode("latin-1").lower()
    named = text in (UI, f"{UI}:443")
    asked = {"registry", host.decode("latin-1").partition(",")[0].strip().lower()} - {""}
    own = any(
        text.removesuffix(port) == f"{scheme}://{each.removesuffix(port)}"
        for each in asked
        for scheme, port in (("http", ":80"), ("https", ":443"))
    )
    assert found == (not origin or named or own)
