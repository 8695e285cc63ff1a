"""Web pages get no lasting or administrative rights from credentials stored in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.access.conftest import PASSWORDS, Guarded, basic, bearer
from tests.v2.pushes import refused

TOKENS, ROBOTS = "/auth/token", "/api/v1/robots"
UI = "https://ui.example.com"
ADMINISTRATION = "registry:administration:*"
SCOPE = f"{ADMINISTRATION} repository:team/app:pull"
# Both ways to let pages of an origin read responses.
BY_CORS = {"cors": {"origins": [UI], "credentials": True}}
BY_HEADERS = {
    "headers": {
        "Access-Control-Allow-Origin": [UI],
        "Access-Control-Allow-Credentials": ["true"],
        "X-Frame-Options": ["DENY"],
    }
}
PAGES: tuple[Mapping[str, str], ...] = (
    {"Origin": UI},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Origin": UI, "Sec-Fetch-Site": "none"},
)
# The headers of a browser for a typed URL, of the `fetch` of Node.js, and of a clearing proxy.
OTHERS: tuple[Mapping[str, str], ...] = (
    {},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Mode": "cors"},
    {"Origin": "", "Sec-Fetch-Site": ""},
)


async def _by_get(client: httpx.AsyncClient, shown: Mapping[str, str]) -> dict[str, Any]:
    params = {"scope": SCOPE, "offline_token": "true"}
    answer = await client.get(TOKENS, params=params, headers={**basic("admin"), **shown})
    assert answer.status_code == 200
    return dict(answer.json())


async def _by_post(
    client: httpx.AsyncClient, shown: Mapping[str, str], **fields: str
) -> dict[str, Any]:
    # A page needs a preflight to send a token, so only pages of the UI can.
    answer = await client.post(TOKENS, data={"scope": SCOPE, **fields}, headers=dict(shown))
    assert answer.status_code == 200
    return dict(answer.json())


async def _administers(client: httpx.AsyncClient, found: Mapping[str, Any]) -> bool:
    answer = await client.get(ROBOTS, headers=bearer(found["access_token"]))
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


@pytest.mark.parametrize("http", [{}, BY_CORS, BY_HEADERS], ids=["none", "cors", "headers"])
async def test_no_page_gets_a_refresh_token(guarded: Guarded, http: Mapping[str, Any]) -> None:
    """Neither by GET nor by POST: a page keeps an access token for minutes, nothing more."""
    client = await guarded({"http": http})
    for page in PAGES:
        assert "refresh_token" not in await _by_get(client, page)
    for other in OTHERS:
        assert "refresh_token" in await _by_get(client, other)


@pytest.mark.parametrize("page", [{"Origin": UI}, {"Sec-Fetch-Site": "same-origin"}])
async def test_no_page_gets_a_refresh_token_for_a_form(
    guarded: Guarded, page: Mapping[str, str]
) -> None:
    """A page with a login form gets an access token and no refresh token."""
    client = await guarded({"http": BY_CORS})
    form = {
        "grant_type": "password", "username": "admin", "password": PASSWORDS["admin"],
        "access_type": "offline",
    }  # fmt: skip
    assert set(await _by_post(client, page, **form)) >= {"access_token", "scope"}
    assert "refresh_token" not in await _by_post(client, page, **form)
    assert "refresh_token" in await _by_post(client, {}, **form)


async def test_a_refresh_token_grants_no_administration(guarded: Guarded) -> None:
    """What `docker login` stores for weeks is for images, also if its user administers."""
    client = await guarded({})
    first = await _by_get(client, {})
    assert await _administers(client, first)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    for shown in OTHERS:
        redeemed = await _by_post(client, shown, **form)
        assert redeemed["scope"] == "repository:team/app:pull"
        assert not await _administers(client, redeemed)


async def test_no_page_gets_a_token_for_administration(guarded: Guarded) -> None:
    """Whichever header identifies it; other clients get one for the same password."""
    client = await guarded({"http": BY_CORS})
    for page in PAGES:
        assert not await _administers(client, await _by_get(client, page))
    for other in OTHERS:
        assert await _administers(client, await _by_get(client, other))


async def test_configured_headers_open_no_management_to_pages(guarded: Guarded) -> None:
    """`Access-Control-*` of `http.headers` are on responses about images; others are on all."""
    client = await guarded({"http": BY_HEADERS})
    page = {**basic("admin"), "Origin": UI}
    assert (await client.get("/v2/", headers=page)).headers["access-control-allow-origin"] == UI
    for path in (ROBOTS, f"{ROBOTS}/ci", "/api/v1/openapi.json", "/api/"):
        for method in ("GET", "OPTIONS"):
            answer = await client.request(method, path, headers=page)
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["x-frame-options"] == "DENY"


async def test_a_refresh_token_is_no_access_token(guarded: Guarded) -> None:
    """Only the token server accepts it."""
    client = await guarded({})
    kept = (await _by_get(client, {}))["refresh_token"]
    for path in ("/v2/", "/v2/team/app/tags/list", ROBOTS):
        assert refused(await client.get(path, headers=bearer(kept))) == (401, "UNAUTHORIZED")
