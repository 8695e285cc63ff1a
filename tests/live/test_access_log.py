"""The access log: a line of fields for each request, also for those that are refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live.access_lines import access_lines, line_of, parsed
from tests.live.sockets import Connection, head_of
from tests.live.test_shutdown import stopping
from tests.support.documents import config_for, image_manifest
from tests.support.guarded import ANN, BOB, WRONG, guarded_config
from tests.support.servers import PROJECT, RegistryServer
from tests.support.wire import OCI_MANIFEST, Wire, sha256, with_query

pytestmark = pytest.mark.live

BLOB = bytes(range(256)) * 9000
LAYER = b"layer"
CONFIG = config_for([LAYER])
AGENT = "docker/27.0 go/1.22 (linux)"
EVERY = {
    "method": str,
    "path": str,
    "status": int,
    "received": int,
    "sent": int,
    "ms": float,
    "who": str,
    "auth": str,
    "from": str,
    "agent": str,
    "request": str,
}
LIMITED = [
    {"repositories": ["home/ann/full"], "bytes": "1"},
    {"repositories": ["home/ann/busy"], "uploads": 1},
]


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def logging_server(folder: Path, formatter: str = "json", **sections: Any) -> RegistryServer:
    """Make a server with users, rules and limits."""
    folder.mkdir(parents=True, exist_ok=True)
    http = sections.pop("http", {})
    settings = json.loads(guarded_config(folder, http))
    settings |= {"log": {"formatter": formatter}, "limits": {"repositories": LIMITED}, **sections}
    return RegistryServer(folder, config=json.dumps(settings))


@pytest.fixture(scope="module", params=["json", "text", "logstash"])
def each(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegistryServer]:
    """Serve with each formatter."""
    formatter = str(request.param)
    with logging_server(tmp_path_factory.mktemp(formatter), formatter) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Serve with JSON."""
    with logging_server(tmp_path_factory.mktemp("json")) as server:
        yield server


def push_image(wire: Wire, name: str) -> str:
    """Push an image as ann; return its digest."""
    for content in (CONFIG, LAYER):
        target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
        wire.expect(201, "POST", target, content, basic("ann", ANN))
    manifest = image_manifest(CONFIG, [LAYER])
    headers = {"Content-Type": OCI_MANIFEST, **basic("ann", ANN)}
    answer = wire.expect(201, "PUT", f"/v2/{name}/manifests/v1", manifest, headers)
    return answer.header("Docker-Content-Digest")


def test_every_formatter_writes_the_same_fields(each: RegistryServer) -> None:
    """In the same order; JSON has numbers as numbers."""
    push_image(each.wire, "home/ann/a")
    path = "/v2/home/ann/a/manifests/v1"
    headers = {"User-Agent": AGENT, **basic("ann", ANN)}
    answer = each.wire.expect(200, "GET", path, headers=headers)
    line = line_of(each, answer)
    assert [name for name in line if name in EVERY] == list(EVERY)
    assert len(line) == len(EVERY) + (4 if "@version" in line else 3)
    assert {name: str(line[name]) for name in EVERY if name != "ms"} == {
        "method": "GET",
        "path": path,
        "status": "200",
        "received": "0",
        "sent": str(len(answer.body)),
        "who": "ann",
        "auth": "user",
        "from": "127.0.0.1",
        "agent": AGENT,
        "request": answer.header("X-Request-Id"),
    }
    assert float(line["ms"]) > 0
    if each.log.startswith("{"):
        assert {name: type(line[name]) for name in EVERY} == EVERY


def test_the_documentation_has_every_field(server: RegistryServer) -> None:
    """In its table and in its examples, of which one is a refusal."""
    document = (PROJECT / "docs/configuration.md").read_text()
    section = document.partition("### Access log")[2].partition("### Audit log")[0]
    rows = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    refused = line_of(server, server.wire.request("GET", "/v2/"))
    assert documented == set(EVERY) | {"code", "reason"}
    assert list(refused) == ["time", "level", "msg", *EVERY, "code", "reason"]
    lines = [parsed(line) for line in section.splitlines() if line.startswith(("time=", "{"))]
    for example in lines:
        names = [name for name in example if name in documented]
        assert names == [*EVERY, *(["code", "reason"] if "code" in example else [])]
    assert len(lines) == 4


def test_a_push_is_counted_without_its_framing(server: RegistryServer) -> None:
    """A chunked body has the length of its content, a declared one its own; neither has output."""
    begun = server.wire.expect(
        202, "POST", "/v2/home/ann/b/blobs/uploads/", None, basic("ann", ANN)
    )
    parts = [BLOB[start : start + 9999] for start in range(0, len(BLOB), 9999)]
    location = begun.header("Location")
    sent = server.wire.expect(202, "PATCH", location, iter(parts), basic("ann", ANN))
    target = with_query(sent.header("Location"), f"digest={sha256(BLOB + LAYER)}")
    finished = server.wire.expect(201, "PUT", target, LAYER, basic("ann", ANN))
    lines = [line_of(server, answer) for answer in (begun, sent, finished)]
    assert [(line["status"], line["received"], line["sent"]) for line in lines] == [
        (202, 0, 0),
        (202, len(BLOB), 0),
        (201, len(LAYER), 0),
    ]


def test_a_pull_is_counted(server: RegistryServer) -> None:
    """Also what the kernel sends from a file; HEAD sends nothing."""
    target = f"/v2/home/ann/c/blobs/uploads/?digest={sha256(BLOB)}"
    server.wire.expect(201, "POST", target, BLOB, basic("ann", ANN))
    path = f"/v2/home/ann/c/blobs/{sha256(BLOB)}"
    for method, status, more, sent in (
        ("GET", 200, {}, len(BLOB)),
        ("GET", 206, {"Range": "bytes=5-14"}, 10),
        ("HEAD", 200, {}, 0),
    ):
        answer = server.wire.expect(status, method, path, headers={**basic("ann", ANN), **more})
        line = line_of(server, answer)
        assert (line["status"], line["sent"]) == (status, sent)
        assert "code" not in line


REFUSALS: list[tuple[str, str, dict[str, str], tuple[int, str, str, str, str]]] = [
    ("GET", "/v2/team/a/tags/list", {}, (401, "UNAUTHORIZED", "no rule", "none", "")),
    (
        "GET",
        "/v2/team/a/tags/list",
        basic("ann", WRONG),
        (401, "UNAUTHORIZED", "invalid username or password", "failed", ""),
    ),
    (
        "GET",
        "/v2/team/a/tags/list",
        {"Authorization": "Bearer a.b.c"},
        (401, "UNAUTHORIZED", "the token is malformed", "failed", ""),
    ),
    (
        "GET",
        "/auth/token?service=registry",
        basic("ann", WRONG),
        (401, "UNAUTHORIZED", "invalid username or password", "failed", ""),
    ),
    (
        "GET",
        "/v2/team/a/tags/list",
        basic("bob", BOB),
        (403, "DENIED", "no rule", "user", "bob"),
    ),
    (
        "GET",
        "/v2/home/ann/x/manifests/none",
        basic("ann", ANN),
        (404, "MANIFEST_UNKNOWN", "", "user", "ann"),
    ),
    ("GET", "/v2/a/b", {}, (404, "NAME_UNKNOWN", "Not Found", "none", "")),
    ("PUT", "/v2/_catalog", {}, (405, "UNSUPPORTED", "Method Not Allowed", "none", "")),
    (
        "POST",
        "/v2/home/ann/x/blobs/uploads/",
        {"Origin": "https://page.example", **basic("ann", ANN)},
        (403, "DENIED", "http.cors", "none", ""),
    ),
]


@pytest.mark.parametrize(("method", "path", "headers", "expected"), REFUSALS)
def test_a_refusal_has_its_code_and_reason(
    server: RegistryServer,
    method: str,
    path: str,
    headers: Mapping[str, str],
    expected: tuple[int, str, str, str, str],
) -> None:
    """A failed login differs from an anonymous request, a rule from what does not exist."""
    line = line_of(server, server.wire.request(method, path, headers=headers))
    status, code, reason, auth, who = expected
    assert (line["status"], line["code"]) == (status, code)
    assert reason in line["reason"]
    assert (line["auth"], line["who"]) == (auth, who)


def test_a_quota_is_a_reason(server: RegistryServer) -> None:
    """The key of the configuration, as in the audit log."""
    target = f"/v2/home/ann/full/blobs/uploads/?digest={sha256(BLOB)}"
    line = line_of(server, server.wire.request("POST", target, BLOB, basic("ann", ANN)))
    assert (line["status"], line["code"], line["reason"]) == (403, "DENIED", "limits.repositories")


def test_a_rate_and_a_foreign_host_are_reasons(tmp_path: Path) -> None:
    """429 and 421 are answered by wrappers, before anything is looked up."""
    limits = {"requests": {"perclient": 1, "burst": 1}}
    http = {"allowedhosts": ["localhost"]}
    with logging_server(tmp_path, limits=limits, http=http) as server:
        answers = [server.wire.request("GET", "/v2/") for _ in range(3)]
        over = line_of(server, next(answer for answer in answers if answer.status == 429))
        foreign = server.wire.request("GET", "/", headers={"Host": "evil.example"})
        refused = line_of(server, foreign)
    assert (over["code"], over["reason"]) == ("TOOMANYREQUESTS", "too many requests")
    assert (refused["status"], refused["code"]) == (421, "DENIED")
    assert "does not serve that host" in refused["reason"]


def test_too_many_wrong_passwords_are_told_apart(tmp_path: Path) -> None:
    """The password of the refused request was not checked."""
    with logging_server(tmp_path, limits={"logins": {"failures": 1}}) as server:
        answers = [
            server.wire.request("GET", "/v2/", headers=basic("ann", WRONG)) for _ in range(5)
        ]
        outcomes = {(line_of(server, one)["auth"], one.status) for one in answers}
    assert outcomes == {("failed", 401), ("throttled", 429)}


def test_a_request_that_the_drain_cancels_has_a_line(tmp_path: Path) -> None:
    """503, with the bytes that arrived."""
    server = logging_server(tmp_path, http={"draintimeout": "1s"}).start()
    (login,) = basic("ann", ANN).values()
    target = f"/v2/home/ann/d/blobs/uploads/?digest={sha256(BLOB)}"
    head = f"POST {target} HTTP/1.1\nAuthorization: {login}\nContent-Length: {1 << 30}"
    with Connection.to(server.port) as connection:
        connection.send(head_of(head))
        connection.send(BLOB)
        with stopping(server):
            answer = connection.answer()
    line = line_of(server, answer)
    assert (line["status"], line["code"], line["received"]) == (503, "UNAVAILABLE", len(BLOB))


FORGED = 'x" status=999 code=FORGED\\" {"a": "b"}'


def test_no_text_of_a_client_imitates_a_field(each: RegistryServer) -> None:
    """Quotes, spaces, line breaks and control characters in the path, the agent and the id."""
    path = "/v2/a%0Alevel=error%22/%1b[31m/manifests/v1%20status=999?secret=1"
    head = f'GET {path} HTTP/1.1\nUser-Agent: {FORGED}\t\xa0\nX-Request-Id: a" status=999'
    with Connection.to(each.port) as connection:
        answer = connection.ask(head)
    assert re.fullmatch(r"[0-9a-f]{32}", answer.header("X-Request-Id"))
    line = line_of(each, answer)
    assert str(line["status"]) == str(answer.status) == "400"
    assert line["path"] == path.partition("?")[0]
    assert line["agent"].startswith(FORGED)
    assert "secret" not in each.log
    assert all(text.isprintable() for text in each.log.splitlines())


def test_long_texts_are_cut(server: RegistryServer) -> None:
    """They end in an ellipsis."""
    headers = {"User-Agent": "a" * 5000}
    line = line_of(server, server.wire.request("GET", f"/{'p' * 5000}", headers=headers))
    assert line["agent"] == "a" * 255 + "…"
    assert line["path"] == "/" + "p" * 1022 + "…"


def test_a_trusted_proxy_gives_address_and_id(tmp_path: Path) -> None:
    """Otherwise the address is the proxy's."""
    headers = {"X-Forwarded-For": "192.0.2.7", "X-Request-Id": "from-the-proxy"}
    lines = []
    for trusted in (["127.0.0.1"], []):
        with logging_server(tmp_path / f"{len(trusted)}", http={"trustedproxies": trusted}) as made:
            lines.append(line_of(made, made.wire.request("GET", "/", headers=headers)))
    assert [line["from"] for line in lines] == ["192.0.2.7", "127.0.0.1"]
    assert [line["request"] == "from-the-proxy" for line in lines] == [True, False]


def test_the_prefix_is_part_of_the_path(tmp_path: Path) -> None:
    """The line has the path as it was sent."""
    with logging_server(tmp_path, http={"prefix": "/below/"}) as server:
        line = line_of(server, server.wire.request("GET", "/below/v2/home/ann/a/tags/list"))
    assert line["path"] == "/below/v2/home/ann/a/tags/list"


def test_a_log_that_is_disabled_has_no_line(tmp_path: Path) -> None:
    """The responses have ids nevertheless."""
    log = {"formatter": "json", "accesslog": {"disabled": True}}
    with logging_server(tmp_path, log=log) as server:
        assert server.wire.request("GET", "/").header("X-Request-Id")
    assert access_lines(server) == []
