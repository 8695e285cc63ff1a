"""The audit log of a whole registry: its lines name the caller and the rule."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.serving.startup_error import StartupError
from registry_server.wiring.app import build
from registry_server.wiring.startup import check_audit
from storage.values.digest import Digest
from tests.support import users
from tests.support.app import lived
from tests.support.drivers import AnyDriver
from tests.v2.asgi import Request, ask

BLOB = b"content"
DIGEST = Digest.of(BLOB)
PASSWORD = "correct horse"
ANN, WRONG = ("ann", PASSWORD), ("ann", "wrong horse")


def _settings(folder: Path) -> Settings:
    file = folder / "htpasswd"
    file.write_text(users.lines({"ann": PASSWORD}))
    return validated(
        Settings,
        {
            "storage": {"filesystem": {"rootdirectory": folder}},
            "auth": {"htpasswd": {"realm": "example", "path": file}},
            "access": {
                "rules": [
                    {"repositories": ["team/**"], "users": ["ann"], "actions": ["pull", "push"]}
                ]
            },
            "audit": {"enabled": True, "file": folder / "audit.log"},
            "http": {"prefix": "/registry/"},
        },
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_each_change_and_refusal_is_a_line_with_caller_and_rule(
    tmp_path: Path, driver: AnyDriver
) -> None:
    """A login, a push and two refusals are one line each; no line has a password or a token."""
    settings = await asyncio.to_thread(_settings, tmp_path)
    async with lived(settings, driver) as client:
        token = await _token(client, "repository:team/app:pull,push")
        bearer = {"Authorization": f"Bearer {token}"}
        uploads, other = "/registry/v2/team/app/blobs/uploads/", "/registry/v2/other/manifests/v1"
        pushed = await client.post(
            uploads, params={"digest": str(DIGEST)}, content=BLOB, headers=bearer
        )
        assert pushed.status_code == 201
        assert (await client.get(other, auth=ANN)).status_code == 403
        assert (await client.get(other, auth=WRONG)).status_code == 401
        assert (await client.get(other, headers=bearer)).status_code == 403
        deleting = f"/registry/v2/team/app/blobs/{DIGEST}"
        assert (await client.delete(deleting, headers=bearer)).status_code == 403
    lines = await asyncio.to_thread(_lines, tmp_path / "audit.log")
    told = [(line["who"], line["action"], line["repository"], line["status"]) for line in lines]
    assert told == [
        ("ann", "login", "", 200),
        ("ann", "push", "team/app", 201),
        ("ann", "pull", "other", 403),
        ("", "pull", "other", 401),
        ("ann", "pull", "other", 403),
        ("ann", "delete", "team/app", 403),
    ]
    assert all(line["rule"] for line in (lines[1], lines[2], lines[5]))
    written = await asyncio.to_thread((tmp_path / "audit.log").read_text)
    basic = base64.b64encode(":".join(ANN).encode()).decode()
    assert not any(secret in written for secret in (PASSWORD, WRONG[1], token, basic))


async def _token(client: httpx.AsyncClient, scope: str) -> str:
    params = {"service": "registry", "scope": scope}
    answer = await client.get("/registry/auth/token", params=params, auth=ANN)
    assert answer.status_code == 200
    return str(answer.json()["token"])


async def test_a_token_that_does_not_grant_an_action_is_named(
    tmp_path: Path, driver: AnyDriver
) -> None:
    """The rules would allow it, so the line names the token as the reason."""
    settings = await asyncio.to_thread(_settings, tmp_path)
    async with lived(settings, driver) as client:
        token = await _token(client, "repository:team/app:pull")
        answer = await client.post(
            "/registry/v2/team/app/blobs/uploads/", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 401
    *_, line = await asyncio.to_thread(_lines, tmp_path / "audit.log")
    assert (line["who"], line["action"], line["rule"]) == (
        "ann",
        "push",
        "the token does not grant it",
    )


async def test_a_preflight_needs_no_credentials(driver: AnyDriver) -> None:
    """A page of a configured origin is allowed; without origins OPTIONS allows no page anything."""
    ui = (b"origin", b"https://ui.example.com")
    request = Request("OPTIONS", headers=[ui, (b"access-control-request-method", b"GET")])
    named = validated(Settings, {"http": {"cors": {"origins": [ui[1].decode()]}}})
    assert (await ask(build(named, driver), request)).status == 204
    answer = await ask(build(Settings(), driver), request)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith(b"access-control-")]


def test_an_audit_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """It names the file. Without an audit log the file is not opened; nothing is created."""
    audit = {"enabled": True, "file": tmp_path / "missing" / "audit.log"}
    with pytest.raises(StartupError, match=r"audit\.log can't be written"):
        check_audit(validated(Settings, {"audit": audit}))
    check_audit(validated(Settings, {"audit": audit | {"enabled": False}}))
    check_audit(validated(Settings, {"audit": audit | {"file": tmp_path / "audit.log"}}))
    (tmp_path / "link").symlink_to(tmp_path / "missing" / "audit.log")
    with pytest.raises(StartupError, match=r"link can't be written: No such file"):
        check_audit(validated(Settings, {"audit": audit | {"file": tmp_path / "link"}}))
    assert [each.name for each in tmp_path.iterdir()] == ["link"]
