"""Tokens for hundreds of repositories, as some issuers send them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from registry_server.access.tokens.signing_keys import jwks, load_or_create_signing_key
from tests.support import users
from tests.support.secrets import keep
from tests.support.servers import RegistryServer
from tests.support.wire import Answer

pytestmark = pytest.mark.live

PASSWORD = keep("correct horse 6")
SERVICE, ISSUER = "registry", "issuer"


def scope(number: int) -> str:
    """Return a scope of a repository with a name of usual length."""
    return f"repository:team{number}/some-project/app:pull,push"


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}


def message(answer: Answer) -> str:
    """Return the message of a refusal."""
    return str(json.loads(answer.body)["errors"][0]["message"])


def test_a_token_of_40_kilobytes_is_accepted(tmp_path: Path) -> None:
    """From another issuer; one that does not fit into a head is refused with the limit."""
    key = load_or_create_signing_key(tmp_path / "key.pem")
    (tmp_path / "keys.jwks").write_text(json.dumps(jwks([key.public])))
    access = [
        {"type": "repository", "name": f"team{n}/app", "actions": ["pull"]} for n in range(400)
    ]
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": SERVICE,
        "sub": "ann",
        "exp": int(time.time()) + 300,
        "access": access,
    }
    claims["groups"] = ["g" * 100] * ((34_000 - len(json.dumps(claims))) // 100)
    token = jwt.encode(claims, key.private, key.algorithm, {"kid": key.id})
    assert 40_000 < len(token) < 60_000
    section = {"realm": "https://auth.example.com", "service": SERVICE, "issuer": ISSUER}
    config = {"version": "0.1", "auth": {"token": {**section, "jwks": str(tmp_path / "keys.jwks")}}}
    with RegistryServer(tmp_path / "server", config=json.dumps(config)) as server:
        for _ in range(2):
            answer = server.wire.request("GET", "/v2/team399/app/tags/list", headers=bearer(token))
            assert (answer.status, "NAME_UNKNOWN" in str(answer.body)) == (404, True)
        other = server.wire.request("GET", "/v2/team400/app/tags/list", headers=bearer(token))
        assert other.status == 401
        refused = server.wire.request("GET", "/v2/", headers=bearer("a" * 70_000))
        assert refused.status == 431
        assert "65536 bytes" in message(refused)


def test_the_token_server_grants_hundreds_of_scopes(tmp_path: Path) -> None:
    """In a query and in a form, in one parameter or several; the registry accepts the token."""
    path = tmp_path / "users"
    path.write_text(users.lines({"ann": PASSWORD}))
    auth = {"htpasswd": {"realm": "tests", "path": str(path)}}
    rules = [{"repositories": ["**"], "users": ["ann"], "actions": ["pull", "push"]}]
    config = {"version": "0.1", "auth": auth, "access": {"rules": rules}}
    scopes = [scope(number) for number in range(350)]
    login = {"grant_type": "password", "username": "ann", "password": PASSWORD}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    with RegistryServer(tmp_path / "server", config=json.dumps(config)) as server:
        for fields in ([("scope", " ".join(scopes))], [("scope", each) for each in scopes]):
            body = urlencode([*login.items(), *fields]).encode()
            answer = server.wire.expect(200, "POST", "/auth/token", body, form)
            token = json.loads(answer.body)["access_token"]
            assert len(token) > 35_000
            for number in (0, 349):
                url = f"/v2/team{number}/some-project/app/tags/list"
                server.wire.expect(404, "GET", url, headers=bearer(token))
            # Nothing is granted without a login, but the query is as long.
            server.wire.expect(200, "GET", f"/auth/token?{urlencode(fields)}")
        body = urlencode([*login.items(), ("scope", " ".join(map(scope, range(501))))]).encode()
        refused = server.wire.request("POST", "/auth/token", body, form)
        assert refused.status == 400
        assert message(refused) == "a request has at most 500 scopes; this one has 501"
