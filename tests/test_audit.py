"""Each change and each refusal is a line of the audit log, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from registry_server.access.interfaces import Action, Actor
from registry_server.audit import Audit, FileSink, LogSink, Sinks
from registry_server.audit.sinks import Entry
from registry_server.audit.targets import Target, query_of, target_of
from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.http.clients import client_address
from registry_server.http.context import Decision, RequestContext, context_of
from registry_server.wiring.app import build
from storage.values.digest import Digest
from tests.support.drivers import AnyDriver
from tests.v2.asgi import Request, ask

LOGIN = "/auth/token"
ROBOTS = "/api/v1/robots"
BLOB = b"content"
DIGEST = Digest.of(BLOB)
SECRET = "c2VjcmV0"
SHOWN = (b"authorization", f"Basic {SECRET}".encode())
ANN = Actor("ann")
YES, NO = Decision(True, "rule 1"), Decision(False, "no rule")


class Kept:
    """A sink that stores its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def put(self, entry: Entry) -> None:
        """Store a line."""
        self.lines.append(dict(entry))


class Answers:
    """Answers with a status, after `learns` has recorded its facts."""

    def __init__(self, status: int, *, digest: str = "", learns: Any = None) -> None:
        self.status = status
        self.headers = [(b"docker-content-digest", digest.encode())] if digest else []
        self.learns = learns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if self.learns is not None:
            self.learns(context_of(scope))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b""})


def _logs_in(context: RequestContext) -> None:
    context.actor, context.logged_in = ANN.name, True


async def _lines(app: ASGIApp, *requests: Request) -> list[dict[str, Any]]:
    kept = Kept()
    audited = Audit(app, kept, client_address, login=LOGIN, robots=ROBOTS)
    for request in requests:
        await ask(audited, request)
    return kept.lines


def _facts(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(line[name] for name in names)


def _asked(who: Actor, *decisions: tuple[Action, Decision]) -> Any:
    def learns(context: RequestContext) -> None:
        context.actor = who.name
        for action, decision in decisions:
            context.decisions[action.value] = decision

    return learns


async def test_each_change_of_the_registry_is_a_line(driver: AnyDriver) -> None:
    """Blobs, manifests with their tags, mounts and deletions; chunks of uploads are not."""
    configured = validated(Settings, {"storage": {"delete": {"enabled": True}}})
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "a/b", "digest": str(DIGEST), "size": len(BLOB)},
            "layers": [],
        }
    ).encode()
    named = Digest.of(manifest)
    oci = [(b"content-type", b"application/vnd.oci.image.manifest.v1+json")]
    lines = await _lines(
        build(configured, driver),
        Request("POST", "/v2/a/blobs/uploads/"),
        Request("POST", "/v2/a/blobs/uploads/", f"digest={DIGEST}".encode(), body=BLOB),
        Request("POST", "/v2/b/blobs/uploads/", f"mount={DIGEST}&from=a".encode()),
        Request("PUT", f"/v2/a/manifests/{named}", b"tag=x&tag=y", oci, manifest),
        Request("PUT", "/v2/a/manifests/v1", b"", oci, manifest),
        Request("GET", "/v2/a/manifests/v1"),
        Request("DELETE", "/v2/a/manifests/v1"),
        Request("DELETE", f"/v2/b/blobs/{DIGEST}"),
        Request("DELETE", f"/v2/b/blobs/{DIGEST}"),
    )
    assert [_facts(line, "action", "repository", "reference", "digest") for line in lines] == [
        ("push", "a", str(DIGEST), str(DIGEST)),
        ("mount", "b", str(DIGEST), str(DIGEST)),
        ("push", "a", str(named), str(named)),
        ("push", "a", "v1", str(named)),
        ("delete", "a", "v1", ""),
        ("delete", "b", str(DIGEST), ""),
    ]
    assert {line["outcome"] for line in lines} == {"allowed"}
    assert [line["status"] for line in lines] == [201, 201, 201, 201, 202, 202]
    assert lines[1]["source"] == "a"
    assert lines[2]["tags"] == ["x", "y"]


async def test_the_line_of_a_mount_has_its_source(driver: AnyDriver) -> None:
    """Also if the request names none; the line of a failed mount has none."""
    lines = await _lines(
        build(validated(Settings, {}), driver),
        Request("POST", "/v2/a/blobs/uploads/", f"digest={DIGEST}".encode(), body=BLOB),
        Request("POST", "/v2/b/blobs/uploads/", f"mount={DIGEST}".encode()),
        Request("POST", "/v2/c/blobs/uploads/", f"mount={DIGEST}&from=b".encode()),
        Request("POST", "/v2/d/blobs/uploads/", f"mount={Digest.of(b'absent')}".encode()),
    )
    assert [_facts(line, "action", "repository", "source") for line in lines] == [
        ("push", "a", ""),
        ("mount", "b", "a"),
        ("mount", "c", "b"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PUT", "/v2/a/manifests/v1", "push"),
        ("POST", "/v2/a/blobs/uploads/", "push"),
        ("DELETE", "/v2/a/manifests/v1", "delete"),
    ],
)
async def test_switched_off_operations_are_refusals(
    driver: AnyDriver, method: str, path: str, action: str
) -> None:
    """A read-only registry logs each attempt to change it."""
    configured = validated(Settings, {"storage": {"maintenance": {"readonly": {"enabled": True}}}})
    body = json.dumps({"schemaVersion": 2}).encode() if method == "PUT" else b""
    found = await _lines(build(configured, driver), Request(method, path, body=body))
    for line in found:
        assert _facts(line, "action", "outcome", "status") == (action, "refused", 405)
        assert "configuration" in line["rule"]
    assert found or method == "PUT"  # an invalid manifest is refused first


async def test_an_unknown_method_is_no_refusal(driver: AnyDriver) -> None:
    """A 405 for a method that never exists is not logged."""
    app = build(Settings(), driver)
    assert await _lines(app, Request("PATCH", "/v2/a/manifests/v1"), Request("PUT", "/v2/")) == []


async def test_a_change_names_its_caller_and_rule() -> None:
    """The layers below record them in the context of the request."""
    learns = _asked(ANN, (Action.PULL, Decision(True, "rule 0")), (Action.PUSH, YES))
    app = Answers(201, digest=str(DIGEST), learns=learns)

    async def copied(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope}, receive, send)

    (line,) = await _lines(copied, Request("PUT", "/v2/team/app/manifests/v1"))
    assert _facts(line, "who", "from", "rule") == ("ann", "127.0.0.1", "rule 1")
    assert line["time"].endswith("Z")
    assert datetime.fromisoformat(line["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("decisions", "action", "rule"),
    [
        ([(Action.PULL, YES), (Action.PUSH, NO)], "push", "no rule"),
        ([(Action.PULL, NO), (Action.PUSH, NO)], "pull", "no rule"),
        ([(Action.PULL, YES), (Action.PUSH, YES), (Action.OVERWRITE, NO)], "overwrite", "no rule"),
        ([], "push", ""),
    ],
)
async def test_a_refusal_names_the_refused_action(
    decisions: list[tuple[Action, Decision]], action: str, rule: str
) -> None:
    """The first action that is not allowed, such as moving a tag."""
    app = Answers(403, learns=_asked(ANN, *decisions))
    (line,) = await _lines(app, Request("PUT", "/v2/team/app/manifests/v1"))
    assert _facts(line, "who", "action", "rule") == ("ann", action, rule)
    assert _facts(line, "outcome", "status") == ("refused", 403)


async def test_a_new_tag_of_a_caller_that_may_not_move_tags_is_a_push() -> None:
    """A check that did not matter for the result is not logged."""
    learns = _asked(ANN, (Action.PUSH, YES), (Action.OVERWRITE, NO))
    (line,) = await _lines(Answers(201, learns=learns), Request("PUT", "/v2/a/manifests/v1"))
    assert _facts(line, "action", "outcome", "rule") == ("push", "allowed", "rule 1")


async def test_a_refused_catalog_names_the_rule() -> None:
    """The action is `catalog`, as in the rules."""
    app = Answers(403, learns=lambda context: context.decisions.update(catalog=NO))
    (line,) = await _lines(app, Request(path="/v2/_catalog"))
    assert _facts(line, "action", "rule", "repository") == ("catalog", "no rule", "")


async def test_a_challenge_is_no_refusal() -> None:
    """Clients begin without credentials; invalid credentials are a line."""
    app = Answers(401)
    paths = ("/v2/", "/v2/a/manifests/v1")
    assert await _lines(app, *(Request(path=path) for path in paths)) == []
    lines = await _lines(app, *(Request(path=path, headers=[SHOWN]) for path in paths))
    assert [line["action"] for line in lines] == ["login", "pull"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_logins_and_failed_logins_are_lines(method: str) -> None:
    """An anonymous token, or one from a refresh token, is not a login."""
    welcomed = Answers(200, learns=_logs_in)
    (line,) = await _lines(welcomed, Request(method, LOGIN, b"account=x&scope=y"))
    assert _facts(line, "who", "action", "outcome") == ("ann", "login", "allowed")
    (line,) = await _lines(Answers(401), Request(method, LOGIN))
    assert _facts(line, "who", "action", "outcome") == ("", "login", "refused")
    assert await _lines(Answers(200), Request(method, LOGIN)) == []


async def test_requests_over_a_limit_are_lines() -> None:
    """Whatever the request."""
    lines = await _lines(Answers(429), Request(), Request(path="/what/ever"))
    assert [line["rule"] for line in lines] == ["too many requests"] * 2


@pytest.mark.parametrize("status", [200, 202, 206, 304, 400, 404, 416, 500, 503])
async def test_nothing_else_is_a_line(status: int) -> None:
    """Pulls, invalid requests and failures belong in other logs."""
    requests = [
        Request(method, path, headers=[SHOWN])
        for method in ("GET", "HEAD", "PATCH", "PUT")
        for path in ("/v2/", "/v2/a/manifests/v1", "/v2/a/blobs/uploads/x", "/v2/a/tags/list", "/")
    ]
    assert await _lines(Answers(status), *requests) == []


async def test_no_line_has_a_secret() -> None:
    """No credentials; and of the query only the parameters of a push."""
    query = f"password={SECRET}&tag={SECRET}!&tag=v1&digest={SECRET}&mount={SECRET}&from={SECRET}"
    requests = [
        Request(method, path, query.encode(), [SHOWN])
        for method, path in (
            ("PUT", "/v2/a/manifests/v1"),
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", f"/v2/a/blobs/uploads/{SECRET}"),
            ("GET", f"/v2/a/{SECRET}"),
            ("POST", LOGIN),
        )
    ]
    lines = await _lines(Answers(401), *requests)
    assert len(lines) == len(requests)
    assert SECRET not in json.dumps(lines)
    assert lines[0]["tags"] == ["v1"]


@settings(deadline=None)
@given(st.text(), st.text(), st.text(), st.binary(max_size=200))
async def test_a_line_is_one_line_of_limited_length(
    who: str, rule: str, path: str, query: bytes
) -> None:
    """Whatever a name, a rule, a path or a query contains."""
    learns = _asked(Actor(who * 100), (Action.PUSH, Decision(False, rule * 100)))
    request = Request("PUT", f"/v2/{path}/manifests/{path}", query)
    (line,) = await _lines(Answers(403, learns=learns), request)
    written = json.dumps(line)
    assert written.isprintable()
    assert written.isascii()
    assert len(written) < 20_000


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v2/a/manifests/b/manifests/v1", Target("manifests", "a/manifests/b", "v1")),
        (f"/v2/a/blobs/{DIGEST}", Target("blobs", "a", str(DIGEST))),
        ("/v2/a/blobs/uploads", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/", Target("uploads", "a")),
        ("/v2/a/blobs/uploads/0123", Target("uploads", "a")),
        ("/v2/a/uploads/0123", Target()),
        ("/v2/a/tags/list", Target("tags", "a")),
        (f"/v2/a/referrers/{DIGEST}", Target("referrers", "a", str(DIGEST))),
        ("/v2/A/manifests/v1", Target("manifests", "", "v1")),
        ("/v2/a/manifests/!", Target("manifests", "a")),
        ("/v2/manifests/v1", Target("manifests", "", "v1")),
        ("/a/manifests/v1", Target()),
        ("/v2/_catalog", Target("catalog")),
        ("/v2", Target("base")),
        (LOGIN, Target("tokens")),
        ("", Target()),
    ],
)
def test_paths_are_parsed_as_the_dispatcher_parses_them(path: str, target: Target) -> None:
    """From the right; malformed parts are empty."""
    assert target_of(path, LOGIN, ROBOTS) == target


def test_without_tokens_no_path_is_a_login() -> None:
    """Not even an empty path."""
    assert target_of("", "", "") == target_of(LOGIN, "", "") == Target()


def test_a_padded_query_hides_no_tag() -> None:
    """As many fields are read as by the handler."""
    padded = b"&".join([b"x=y"] * 1000 + [b"tag=hidden"])
    assert query_of(Target("manifests", "a", "v1"), padded).tags == ("hidden",)


# --- Sinks ---------------------------------------------------------------------------------------


def _entry(number: int) -> dict[str, object]:
    return {"action": "push", "outcome": "allowed", "number": number, "time": "now"}


def _numbers(path: Path) -> list[int]:
    return [json.loads(line)["number"] for line in path.read_text().splitlines() if line]


async def _read(path: Path) -> list[int]:
    return await asyncio.to_thread(_numbers, path)


async def test_closing_writes_every_line_in_order(tmp_path: Path) -> None:
    """A missing file is created, and other users can't read it."""
    path = tmp_path / "audit.log"
    sink = FileSink(path)
    for number in range(2000):
        sink.put(_entry(number))
    await sink.close()
    assert await _read(path) == list(range(2000))
    assert path.stat().st_mode & 0o007 == 0


async def test_a_renamed_file_is_left_alone(tmp_path: Path) -> None:
    """The next line starts a new file, as log rotation expects."""
    path, moved = tmp_path / "audit.log", tmp_path / "audit.log.1"
    sink = FileSink(path)
    sink.put(_entry(1))
    await sink.close()
    path.rename(moved)
    sink.put(_entry(2))
    await sink.close()
    assert (await _read(moved), await _read(path)) == ([1], [2])


async def test_several_processes_can_append_to_one_file(tmp_path: Path) -> None:
    """No line is lost or mixed with another."""
    path = tmp_path / "audit.log"
    sinks = [FileSink(path) for _ in range(4)]
    for number in range(1000):
        sinks[number % 4].put(_entry(number))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*(sink.close() for sink in sinks))
    assert sorted(await _read(path)) == list(range(1000))


async def test_a_file_that_cannot_be_written_is_logged_once_and_lines_are_queued(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No request fails, and the lines are written when the file is writable again."""
    path = tmp_path / "folder" / "audit.log"
    sink = FileSink(path)
    for number in range(3):
        sink.put(_entry(number))
        await sink.flushed()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    path.parent.mkdir()
    sink.put(_entry(3))
    await sink.close()
    assert await _read(path) == [0, 1, 2, 3]


async def test_a_full_disk_drops_lines_and_logs_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Closing does not wait for the disk."""
    sink = FileSink(Path("/dev/full"))
    for number in range(10_005):
        sink.put(_entry(number))
    await sink.close()
    assert "10005 lines" in caplog.text
    assert caplog.text.count("could not write") == 1


async def test_the_queue_is_limited_in_bytes(caplog: pytest.LogCaptureFixture) -> None:
    """Long lines are fewer; all dropped lines are counted."""
    sink = FileSink(Path("/dev/full"))
    for number in range(200):
        sink.put({**_entry(number), "tags": "x" * 100_000})
    assert sum(map(len, sink._waiting)) <= 8 << 20
    assert len(sink._waiting) > 80
    await sink.close()
    assert "200 lines" in caplog.text


@contextmanager
def _no_file_longer_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_torn_line_damages_no_other(tmp_path: Path) -> None:
    """It is written again on a line of its own."""
    path = tmp_path / "audit.log"
    sink = FileSink(path)
    with _no_file_longer_than(100):
        sink.put(_entry(1))
        sink.put(_entry(2))
        await sink.flushed()
    await sink.close()
    lines = (await asyncio.to_thread(path.read_text)).splitlines()
    assert [json.loads(line)["number"] for line in (lines[0], lines[-1])] == [1, 2]
    assert len(lines) == 3


async def test_a_pipe_without_a_reader_blocks_nothing(tmp_path: Path) -> None:
    """Opening it is an error, and no thread waits for it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = FileSink(path)
    sink.put(_entry(1))
    await sink.close()


async def test_a_file_has_one_sink(tmp_path: Path) -> None:
    """Also across reloads; without a file the lines are logged."""
    sinks = Sinks()
    first = sinks.at(tmp_path / "a")
    assert sinks.at(tmp_path / "a") is first
    assert sinks.at(tmp_path / "b") is not first
    assert isinstance(sinks.at(None), LogSink)
    first.put(_entry(1))
    await sinks.close()
    assert await _read(tmp_path / "a") == [1]


@pytest.fixture
def few_words() -> Iterator[None]:
    """Configure the log to write errors only."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    yield
    root.setLevel(before)


@pytest.mark.usefixtures("few_words")
async def test_without_a_file_the_log_has_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    """At any level, and with the time of the log."""
    line = partial(Request, "PUT", "/v2/a/manifests/v1")
    await ask(
        Audit(
            Answers(403, learns=_asked(ANN, (Action.PUSH, NO))),
            LogSink(),
            client_address,
            login=LOGIN,
            robots=ROBOTS,
        ),
        line(),
    )
    (record,) = caplog.records
    assert (record.name, record.getMessage()) == ("registry.audit", "push refused")
    assert (vars(record)["who"], vars(record)["rule"]) == ("ann", "no rule")
    assert "time" not in vars(record)
