"""The limits in a whole registry: all passwords count, and refusals are audited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import Invalid, validated
from tests.support import users
from tests.support.app import lived
from tests.support.drivers import AnyDriver

CLIENT = "192.0.2.7"
PASSWORD = "correct horse"
ANN, WRONG = ("ann", PASSWORD), ("ann", "wrong horse")
FORM = {"grant_type": "password", "service": "registry", "client_id": "a", "username": "ann"}


def _settings(folder: Path, **sections: Any) -> Settings:
    file = folder / "htpasswd"
    file.write_text(users.lines({"ann": PASSWORD}))
    everybody = {"anonymous": True, "actions": ["*"]}
    return validated(
        Settings,
        {
            "storage": {"filesystem": {"rootdirectory": folder}},
            "auth": {"htpasswd": {"realm": "example", "path": file}},
            "access": {"rules": [everybody]},
            "limits": {"logins": {"failures": 3}},
            **sections,
        },
    )


def _is_refusal(answer: httpx.Response, most: int = 300) -> bool:
    code = answer.json()["errors"][0]["code"]
    wait = int(answer.headers["retry-after"])
    return (answer.status_code, code) == (429, "TOOMANYREQUESTS") and 1 <= wait <= most


async def test_wrong_passwords_count_wherever_they_are_sent(
    driver: AnyDriver, tmp_path: Path
) -> None:
    """In a header, or in either form of a token request; right ones are refused as well then."""
    settings = await asyncio.to_thread(_settings, tmp_path)
    async with lived(settings, driver, CLIENT) as client:
        right = await client.post("/auth/token", data=FORM | {"password": PASSWORD})
        token = right.json()["access_token"]
        assert (await client.get("/v2/", auth=WRONG)).status_code == 401
        assert (await client.get("/auth/token", auth=WRONG)).status_code == 401
        wrong = await client.post("/auth/token", data=FORM | {"password": WRONG[1]})
        assert wrong.status_code == 401
        assert _is_refusal(await client.get("/v2/", auth=ANN))
        assert _is_refusal(await client.get("/auth/token", auth=ANN))
        assert _is_refusal(await client.post("/auth/token", data=FORM | {"password": PASSWORD}))
        # Requests without a password are still served.
        assert (await client.get("/v2/_catalog")).status_code == 200
        assert (await client.get("/auth/token")).status_code == 200
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/v2/", headers=bearer)).status_code == 200


async def test_only_passwords_count(driver: AnyDriver, tmp_path: Path) -> None:
    """Neither invalid tokens, nor malformed headers, nor missing credentials."""
    settings = await asyncio.to_thread(_settings, tmp_path)
    async with lived(settings, driver, CLIENT) as client:
        for field in ("Bearer wrong", "Basic !", "Basic", "Digest x", ""):
            for _ in range(4):
                answer = await client.get("/v2/", headers={"Authorization": field})
                assert answer.status_code == 401
        refresh = {"grant_type": "refresh_token", "refresh_token": "x", "service": "registry"}
        for _ in range(4):
            assert (await client.post("/auth/token", data=refresh)).status_code == 401
            assert (await client.get("/v2/")).status_code == 401
        assert (await client.get("/v2/", auth=ANN)).status_code == 200


async def test_users_without_rules_are_limited_too(driver: AnyDriver, tmp_path: Path) -> None:
    """With `auth.htpasswd` alone, as in registry:2."""
    settings = await asyncio.to_thread(_settings, tmp_path, access={})
    async with lived(settings, driver, CLIENT) as client:
        assert [(await client.get("/v2/", auth=WRONG)).status_code for _ in range(3)] == [401] * 3
        assert _is_refusal(await client.get("/v2/", auth=ANN))


@pytest.mark.parametrize(("trusted", "status"), [([], 429), (["10.0.0.0/8"], 200)])
async def test_clients_behind_a_trusted_proxy_are_distinguished(
    driver: AnyDriver, tmp_path: Path, trusted: list[str], status: int
) -> None:
    """Behind any other proxy they are one client."""
    settings = await asyncio.to_thread(_settings, tmp_path, http={"trustedproxies": trusted})
    async with lived(settings, driver, "10.0.0.1") as client:
        for _ in range(3):
            headers = {"X-Forwarded-For": "192.0.2.1, 192.0.2.7"}
            await client.get("/v2/", auth=WRONG, headers=headers)
        headers = {"X-Forwarded-For": "192.0.2.7, 192.0.2.8"}
        answer = await client.get("/v2/", auth=ANN, headers=headers)
        assert answer.status_code == status


async def test_refusals_of_limits_are_lines_of_the_audit_log(
    driver: AnyDriver, tmp_path: Path
) -> None:
    """With the counted address, also below a prefix."""
    path = tmp_path / "audit.log"
    sections: Mapping[str, Any] = {
        "audit": {"enabled": True, "file": path},
        "http": {"prefix": "/here/", "trustedproxies": ["10.0.0.1"]},
        "limits": {"requests": {"perclient": 1, "burst": 1}, "uploads": {"total": 1}},
    }
    settings = await asyncio.to_thread(_settings, tmp_path, **sections)
    headers = {"X-Forwarded-For": "192.0.2.7"}
    async with lived(settings, driver, "10.0.0.1") as client:
        assert [(await client.get("/here/", headers=headers)).status_code for _ in range(3)] == [
            200
        ] * 3
        answers = [await client.get("/here/v2/a/tags/list", headers=headers) for _ in range(2)]
        assert answers[0].status_code == 404
        assert _is_refusal(answers[1], 1)
        assert answers[1].headers["docker-distribution-api-version"] == "registry/2.0"
    line = json.loads(await asyncio.to_thread(path.read_text))
    assert (line["from"], line["rule"], line["status"]) == ("192.0.2.7", "too many requests", 429)
    assert (line["repository"], line["outcome"]) == ("a", "refused")


async def test_by_default_nothing_is_limited(driver: AnyDriver, tmp_path: Path) -> None:
    """Behind an untrusted proxy all clients are one, and a client that guesses would block all."""
    settings = await asyncio.to_thread(_settings, tmp_path, limits={})
    async with lived(settings, driver, CLIENT) as client:
        assert {(await client.get("/v2/_catalog")).status_code for _ in range(300)} == {200}
        tries = [(await client.get("/v2/", auth=WRONG)).status_code for _ in range(25)]
        assert tries == [401] * 25


@pytest.mark.parametrize(
    "limits",
    [
        {"requests": {"perclient": -1}},
        {"requests": {"burst": 10**9}},
        {"uploads": {"total": "many"}},
        {"logins": {"failures": 1001}},
        {"logins": {"window": "0s"}},
        {"logins": {"window": "300"}},
    ],
)
def test_invalid_limits_are_refused(limits: dict[str, Any]) -> None:
    """Neither negative values, nor larger ones than can be counted."""
    with pytest.raises(Invalid):
        validated(Settings, {"limits": limits})
