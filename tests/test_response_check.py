"""`check` gives one answer of each kind, and writes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.serving.startup_error import StartupError
from registry_server.wiring import startup
from registry_server.wiring.response_check import SampleRequest, failure_of, first_failure
from tests.support.drivers import AnyDriver
from tests.support.users import lines
from tests.v2.conftest import Serve, serve  # noqa: F401 (a fixture)

BEYOND = "Réalm ☃ 登録"
ASKED = SampleRequest("GET", "/v2/")


def settings_of(folder: Path, **sections: Any) -> Settings:
    """Return settings with a root in `folder`."""
    (folder / "root").mkdir(exist_ok=True)
    storage = {"filesystem": {"rootdirectory": folder / "root"}, **sections.pop("storage", {})}
    return validated(Settings, {"storage": storage, **sections})


def users(folder: Path) -> Path:
    """Write a file of users."""
    path = folder / "users"
    path.write_text(lines({"ann": "correct horse"}))
    return path


def everything(folder: Path) -> list[dict[str, Any]]:
    """Return sections that use each way in, and the texts that answers repeat."""
    by_password = {"htpasswd": {"realm": BEYOND, "path": users(folder)}}
    tokens = {"service": BEYOND, "issuer": BEYOND, "realm": "https://bücher.example/"}
    http = {
        "host": "https://bücher.example",
        "prefix": "/registry/",
        "headers": {"X-A": [BEYOND], "Access-Control-Allow-Origin": ["*"]},
        "cors": {"origins": ["https://ui.example.com"]},
    }
    return [
        {},
        {"http": http},
        {"auth": by_password, "http": http},
        {"auth": by_password, "access": {"rules": [], "tokens": tokens}, "http": http},
        {"access": {"rules": []}, "storage": {"maintenance": {"readonly": {"enabled": True}}}},
        {"auth": {"htpasswd": {"realm": BEYOND, "path": folder / "missing"}}},
        {
            "audit": {"enabled": True, "file": folder / "audit.log"},
            "limits": {"requests": {"perclient": 1, "burst": 1}, "logins": {"failures": 1}},
        },
    ]


@pytest.mark.parametrize("number", range(7))
def test_settings_that_work_pass_and_create_nothing(
    tmp_path: Path, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No key, no users, no audit log, no line of the access log."""
    settings = settings_of(tmp_path, **everything(tmp_path)[number])
    before = sorted(tmp_path.rglob("*"))
    caplog.set_level(logging.DEBUG)
    assert first_failure(settings) is None
    assert sorted(tmp_path.rglob("*")) == before
    assert not [record for record in caplog.records if record.name.startswith("registry")]


def test_check_and_a_reload_refuse_what_answers_cannot_be_given_by(tmp_path: Path) -> None:
    """A value that no validation found is found by the answer; it is not repeated."""
    settings = settings_of(tmp_path)
    headers: dict[str, tuple[str, ...]] = {"X-A": ("a\r\nSet-Cookie: secret",)}
    http = replace(settings.http, headers=headers)
    with pytest.raises(StartupError) as caught:
        startup.check(replace(settings, http=http))
    assert str(caught.value) == "GET / cannot be answered with these settings (ValueError)"


class Answering:
    """Answers everything alike, or raises."""

    def __init__(self, status: int, headers: Sequence[tuple[Any, Any]] = ()) -> None:
        self.status = status
        self.headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if not self.status:
            raise KeyError("a secret")
        headers = tuple(self.headers)
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


async def test_faults_are_found() -> None:
    """An exception, a header that is none, and an answer that says the registry failed."""
    assert await failure_of(Answering(200), ASKED) is None
    assert await failure_of(Answering(401), ASKED) is None
    assert "KeyError" in str(await failure_of(Answering(0), ASKED))
    assert "secret" not in str(await failure_of(Answering(0), ASKED))
    assert "ValueError" in str(await failure_of(Answering(200, [(b"x", b"a\nb")]), ASKED))
    assert "500" in str(await failure_of(Answering(500), ASKED))


async def test_texts_of_any_script_are_sent_as_utf8(serve: Serve, tmp_path: Path) -> None:  # noqa: F811
    """In challenges, configured headers and locations; each answer is what it would be."""
    path = await asyncio.to_thread(users, tmp_path)
    headers = {"X-A": [BEYOND]}
    client = await serve(
        {
            "auth": {"htpasswd": {"realm": BEYOND, "path": path}},
            "http": {"headers": headers},
        }
    )
    answer = await client.get("/v2/")
    raw = dict(answer.headers.raw)
    assert answer.status_code == 401
    assert raw[b"www-authenticate"] == f'Basic realm="{BEYOND}"'.encode()
    assert raw[b"x-a"] == BEYOND.encode()
    client = await serve({"http": {"host": "https://bücher.example", "headers": headers}})
    answer = await client.post("/v2/app/blobs/uploads/")
    assert answer.status_code == 202
    assert answer.headers["location"].startswith("https://xn--bcher-kva.example/v2/app/")


async def test_the_token_server_names_any_service(serve: Serve, driver: AnyDriver) -> None:  # noqa: F811
    """Its challenge and that of the registry."""
    client = await serve({"access": {"rules": [], "tokens": {"service": BEYOND}}})
    challenge = dict((await client.get("/v2/")).headers.raw)[b"www-authenticate"]
    assert f'service="{BEYOND}"'.encode() in challenge
    answer = await client.get("/auth/token", params={"service": BEYOND})
    assert answer.status_code == 200
    answer = await client.get("/auth/token", auth=("ann", "wrong password"))
    challenge = dict(answer.headers.raw)[b"www-authenticate"]
    assert answer.status_code == 401
    assert challenge == f'Basic realm="{BEYOND}", charset="UTF-8"'.encode()
