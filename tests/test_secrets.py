"""The search for secrets in what a test run writes finds them, in every form, and nothing else."""

from __future__ import annotations

import base64
import json
import logging
import secrets
from itertools import count
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from registry_server.access.interfaces import Grants
from registry_server.access.robots import RobotStore
from registry_server.access.tokens.bearer import TokenIssuer
from registry_server.access.tokens.signing_keys import load_or_create_signing_key
from tests.support.secrets import (
    SHORTEST,
    Heard,
    Witnessed,
    forms,
    keep,
    nothing_told,
    private_lines,
    told,
    told_once,
    without_told_once,
    written,
)
from tests.v2.asgi import Request, ask

SECRET = keep("a pass:wörd & \\more")
TEXT = st.text(st.characters(codec="utf-8"), min_size=SHORTEST, max_size=40)


@pytest.mark.parametrize(
    "line",
    [
        f"ann logged in with {SECRET}!",
        f"{{'password': {SECRET!r}}}",
        json.dumps({"password": SECRET}),
        urlencode({"password": SECRET}),
        f"/auth/token?password={quote_plus(SECRET, safe='')}",
        f"Basic {base64.b64encode(f'ann:{SECRET}'.encode()).decode()}",
        f"{base64.urlsafe_b64encode(f'bob:{SECRET}'.encode()).decode()}",
        str([(b"authorization", b"Basic " + base64.b64encode(b"ann:never heard of"))]),
        bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode(),
    ],
    ids=count(),
)
def test_a_line_that_tells_a_password_is_found(line: str) -> None:
    """As it is, escaped, in a query, in a header, and as what is kept of it."""
    assert told(line)
    with pytest.raises(AssertionError, match="log tells") as failure:
        nothing_told(f"before\n{line}\nafter", "log")
    assert not told(str(failure.value))


@given(TEXT, TEXT, TEXT)
def test_base64_hides_no_secret(before: str, secret: str, after: str) -> None:
    """Wherever in what was encoded it stands."""
    encoded = base64.b64encode(f"{before}{secret}{after}".encode()).decode()
    assert any(form in encoded for form in forms(secret))


def test_tokens_and_keys_are_known_by_their_looks(tmp_path: Path) -> None:
    """Of any origin, and also half of one."""
    key = load_or_create_signing_key(tmp_path / "key.pem")
    token = TokenIssuer(key, "issuer").sign("ann", Grants({}), "service").text
    robot = RobotStore(tmp_path / "robots.json").create("ci").secret
    pem = (tmp_path / "key.pem").read_text()
    for secret in (token, *token.split(".")[:2], f"Bearer {token}", robot, pem):
        assert told(f"x {secret} x")
    lines = private_lines(tmp_path)
    assert len(lines) > 1
    assert all(line in pem for line in lines)
    assert told("".join(pem.splitlines()[1:-1]), lines)


@pytest.mark.parametrize(
    "line",
    [
        'Basic realm="my registry", charset="UTF-8"',
        'Bearer realm="http://registry/auth/token",service="registry"',
        "time=2026-01-01T00:00:00.000Z level=info msg=access method=GET path=/v2/ status=401",
        f"sha256:{'0123456789abcdef' * 4} of ann, Basic authentication, robot:ci and robot$ci",
    ],
)
def test_what_is_no_secret_is_not_found(line: str) -> None:
    """Challenges, lines of the access log, digests and names."""
    assert told(line) == []


async def _reads(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await PlainTextResponse("")(scope, receive, send)


async def test_what_is_shown_to_a_registry_is_a_secret_from_then_on() -> None:
    """In a header and in a form, right or wrong, without a word of the test."""
    header, form = "shown in a header", "shown in a form"
    assert not told(header + form)
    witnessed = Witnessed(_reads)
    shown = b"Basic " + base64.b64encode(f"ann:{header}".encode())
    await ask(witnessed, Request("GET", "/v2/", headers=[(b"authorization", shown)]))
    fields = {"grant_type": "password", "password": form}
    await ask(witnessed, Request("POST", "/auth/token", body=urlencode(fields).encode()))
    assert told(header)
    assert told(form)


async def test_a_guess_that_is_a_word_is_no_secret() -> None:
    """It stands in lines that tell nothing."""
    for guess in ("password", "registry", "short"):
        shown = b"Basic " + base64.b64encode(f"ann:{guess}".encode())
        await ask(Witnessed(_reads), Request(headers=[(b"authorization", shown)]))
        assert not told(f"a {guess} that is in a line")


def test_all_that_is_logged_is_heard() -> None:
    """At any level, with its facts."""
    with Heard() as heard:
        for name in ("registry_server.some", "storage.other", "registry.access"):
            logging.getLogger(name).debug("said by %s", name, extra={"fact": f"known to {name}"})
    assert len(heard.lines) == 3
    assert all("said by" in line and "known to" in line for line in heard.lines)


def test_the_logs_of_a_folder_are_read_and_what_was_pushed_is_not(tmp_path: Path) -> None:
    """However deep they lie."""
    for name in ("server/serve.log", "audit.log", "root/docker/x.log", "server/config.yml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert {text for _, text in written(tmp_path)} == {"server/serve.log", "audit.log"}


CREATED = "the htpasswd file users did not exist and was created: the password of its user follows"


@pytest.mark.parametrize("form", ['msg="{}" user=docker password={}', '{{"{}", "password": "{}"}}'])
def test_the_password_of_a_created_user_may_be_told_once(form: str) -> None:
    """In the line that is for it; a second time, or in another line, it is found."""
    password = secrets.token_urlsafe()
    line = form.format(CREATED, password)
    assert told_once(f"before\n{line}\nafter")[0] == password
    nothing_told(without_told_once(f"before\n{line}\nafter"), "log")
    with pytest.raises(AssertionError, match="log tells"):
        nothing_told(without_told_once(f"{line}\nanother line with {password}"), "log")
    with pytest.raises(ValueError, match="too many values"):
        without_told_once(f"{line}\n{line}")
