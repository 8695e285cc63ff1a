"""Tokens of another issuer with rules: both must allow a request."""

from __future__ import annotations

import json
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx
import pytest

from registry_server.access.interfaces import Action, Grants
from registry_server.access.tokens.bearer import TokenIssuer
from registry_server.access.tokens.signing_keys import jwks, temporary_signing_key
from tests.access.conftest import Files, Guarded, bearer
from tests.access.test_caches import KEPT, push, said
from tests.v2.pushes import refused

ISSUER, SERVICE, REALM = "auth.example.com", "registry.example.com", "https://auth.example.com/"
APP = "team/app"
KEY = temporary_signing_key()
EVERYTHING = frozenset(Action)

Served: TypeAlias = Callable[[str], Awaitable[httpx.AsyncClient]]


def shown(sub: str) -> dict[str, str]:
    """Return the header with a token that grants everything in one repository."""
    grants = Grants({APP: EVERYTHING}, catalog=True)
    return bearer(TokenIssuer(KEY, ISSUER).sign(sub, grants, SERVICE).text)


@pytest.fixture
def served(guarded: Guarded, files: Files) -> Served:
    """Serve with or without rules that grant everyone `pull` and `ann` `push`."""

    async def start(rules: str) -> httpx.AsyncClient:
        keys = files.folder / "token.jwks"
        await to_thread(keys.write_text, json.dumps(jwks([KEY.public])))
        token = {"realm": REALM, "service": SERVICE, "issuer": ISSUER, "jwks": keys}
        all_read = {"anonymous": True, "actions": ["pull", "catalog"]}
        owner = {"users": ["ann"], "actions": ["*"]}
        access = {"rules": [all_read, owner]} if rules else {}
        return await guarded({"auth": {"token": token}, "access": access})

    return start


@pytest.mark.parametrize("rules", ["", "rules"])
async def test_without_a_token_nothing_is_granted(served: Served, rules: str) -> None:
    """Not even what a rule grants to anonymous clients: the issuer must agree."""
    client = await served(rules)
    await push(client, APP, shown("ann"))
    for path in (f"/v2/{APP}/manifests/v1", f"/v2/{APP}/tags/list", "/v2/_catalog", "/v2/"):
        refusal = await client.get(path)
        assert refused(refusal) == (401, "UNAUTHORIZED"), path
        assert refusal.headers["www-authenticate"].startswith(f'Bearer realm="{REALM}"')
        for sub in ("", "ann", "bob"):
            assert (await client.get(path, headers=shown(sub))).status_code == 200


@pytest.mark.parametrize("rules", ["", "rules"])
async def test_content_behind_tokens_is_private(served: Served, rules: str) -> None:
    """Also for a token without a subject: an issuer may omit the name of a user."""
    client = await served(rules)
    await push(client, APP, shown("ann"))
    for sub in ("", "ann"):
        assert await said(client, APP, shown(sub)) == {f"private, {KEPT}"}
