"""Robot accounts over HTTP: responses, refusals, and lines of the audit log."""

from __future__ import annotations

import json
from asyncio import Queue, ensure_future, to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from starlette.types import Message

from registry_server.access.robots import Robot, RobotStore, format_robots, robots_file
from registry_server.access.tokens.signing_keys import jwks, load_or_create_signing_key
from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.wiring.app import build
from storage.drivers.memory import MemoryDriver
from tests.api.managed import AS_ANN, AS_BOB, ROBOTS, basic, managed
from tests.support.app import serve_in_process

Managed: TypeAlias = Callable[..., Awaitable[httpx.AsyncClient]]
NOW = datetime.now(UTC).replace(microsecond=0)
JSON = {"Content-Type": "application/json"}


def settings_in(folder: Path, more: Mapping[str, Any]) -> Settings:
    """Return settings with the root directory in `folder`."""
    (folder / "root").mkdir(exist_ok=True)
    storage = {"filesystem": {"rootdirectory": folder / "root"}, **more.get("storage", {})}
    return validated(Settings, managed(folder, **{**more, "storage": storage}))


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Managed]:
    """Serve a registry with administrators and additional settings."""
    async with AsyncExitStack() as stack:

        async def start(**more: Any) -> httpx.AsyncClient:
            settings = await to_thread(settings_in, tmp_path, more)
            return await stack.enter_async_context(serve_in_process(settings, MemoryDriver()))

        yield start


@asynccontextmanager
async def alive(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a registry, whose audit log is flushed at the end of the block."""
    app = await to_thread(build, settings, MemoryDriver())
    inbox: Queue[Message] = Queue()
    outbox: Queue[Message] = Queue()
    life = ensure_future(app({"type": "lifespan", "state": {}}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    await outbox.get()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://registry") as client:
        yield client
    await inbox.put({"type": "lifespan.shutdown"})
    await life


def codes(answer: httpx.Response) -> list[str]:
    """Return the codes of a refusal."""
    return [each["code"] for each in answer.json()["errors"]]


async def test_a_robot_is_created_shown_listed_and_revoked(serve: Managed, tmp_path: Path) -> None:
    """Only one response has its key, and the file is as the command writes it."""
    client = await serve()
    wanted = {"name": "ci", "expires": "36h", "description": "for builds"}
    made = await client.post(ROBOTS, json=wanted, headers=AS_ANN)
    assert (made.status_code, made.headers["location"]) == (201, f"http://registry{ROBOTS}/ci")
    assert made.headers["cache-control"] == "no-store"
    robot = made.json()
    key = robot.pop("key")
    lasts = datetime.fromisoformat(robot["expires"]) - datetime.fromisoformat(robot["created"])
    assert abs(lasts - timedelta(hours=36)) <= timedelta(seconds=1)
    facts = [robot[name] for name in ("name", "login", "description", "expired")]
    assert facts == ["ci", "robot:ci", "for builds", False]
    shown = await client.get(made.headers["location"], headers=AS_ANN)
    listed = await client.get(ROBOTS, headers=AS_ANN)
    assert (shown.json(), listed.json()) == (robot, {"robots": [robot]})
    (kept,) = await to_thread(RobotStore(robots_file(tmp_path / "root")).list)
    assert (kept.login, kept.description) == ("robot:ci", "for builds")
    assert (await client.get("/v2/", headers=basic("robot$ci", key))).status_code == 200
    gone = await client.delete(f"{ROBOTS}/ci", headers=AS_ANN)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await client.get("/v2/", headers=basic("robot$ci", key))).status_code == 401
    assert (await client.get(ROBOTS, headers=AS_ANN)).json() == {"robots": []}


async def test_robots_are_in_the_order_of_their_names(serve: Managed, tmp_path: Path) -> None:
    """Expired ones are included and marked; without an expiry it is null."""
    client = await serve()
    then = NOW - timedelta(days=2)
    path = robots_file(tmp_path / "root")
    path.parent.mkdir(exist_ok=True)
    made = [Robot("b", bytes(32), then, then), Robot("a", bytes(32), then, None, "x")]
    path.write_bytes(format_robots({each.name: each for each in made}))
    robots = (await client.get(ROBOTS, headers=AS_ANN)).json()["robots"]
    assert [each["name"] for each in robots] == ["a", "b"]
    assert [each["expired"] for each in robots] == [False, True]
    assert [each["expires"] is None for each in robots] == [True, False]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"", ["body"]),
        (b"{", ["body"]),
        (b"[" * 8000, ["body"]),
        (b"[]", ["body"]),
        (b"\xff", ["body"]),
        (b"{}", ["name"]),
        (b'{"name": null}', ["name"]),
        (b'{"name": "CI"}', ["name"]),
        (b'{"name": "ci\\n"}', ["name"]),
        (b'{"name": "robot:ci"}', ["name"]),
        (b'{"name": "../ci"}', ["name"]),
        (b'{"name": "ci", "expires": "soon"}', ["expires"]),
        (b'{"name": "ci", "expires": "90"}', ["expires"]),
        (b'{"name": "ci", "expires": 90}', ["expires"]),
        (b'{"name": "ci", "expires": "0s"}', ["expires"]),
        (b'{"name": "ci", "expires": "-1h"}', ["expires"]),
        (b'{"name": "ci", "description": "a\\nb"}', ["description"]),
        (b'{"name": "ci", "description": "' + b"x" * 257 + b'"}', ["description"]),
        (b'{"name": "ci", "key": "mine"}', ["key"]),
        (b'{"name": "CI", "expires": ""}', ["name", "expires"]),
    ],
)
async def test_invalid_robots_are_refused(
    serve: Managed, tmp_path: Path, body: bytes, fields: list[str]
) -> None:
    """The command refuses the same; each fault names its field, and nothing is created."""
    client = await serve()
    answer = await client.post(ROBOTS, content=body, headers=AS_ANN | JSON)
    assert answer.status_code == 400
    assert set(codes(answer)) == {"REQUEST_INVALID"}
    assert [each["detail"]["field"] for each in answer.json()["errors"]] == fields
    assert not robots_file(tmp_path / "root").exists()


async def test_the_number_of_faults_is_limited(serve: Managed) -> None:
    """A response does not grow with the request."""
    client = await serve()
    body = {f"{at}": 1 for at in range(500)}
    answer = await client.post(ROBOTS, json=body, headers=AS_ANN)
    assert (answer.status_code, len(codes(answer))) == (400, 10)


async def test_existing_and_missing_names(serve: Managed) -> None:
    """An existing robot is not created again; a missing one is neither shown nor revoked."""
    client = await serve()
    assert (await client.post(ROBOTS, json={"name": "ci"}, headers=AS_ANN)).status_code == 201
    again = await client.post(ROBOTS, json={"name": "ci"}, headers=AS_ANN)
    assert (again.status_code, codes(again)) == (409, ["ROBOT_EXISTS"])
    for name in ("no", "CI", "robot:ci", "%00", "%2e%2ex", "x" * 300):
        for method in ("GET", "DELETE"):
            answer = await client.request(method, f"{ROBOTS}/{name}", headers=AS_ANN)
            assert (answer.status_code, codes(answer)) == (404, ["ROBOT_UNKNOWN"]), name


async def test_too_many_robots_are_refused(
    serve: Managed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the limit."""
    client = await serve()
    monkeypatch.setattr("registry_server.access.robots.store.MOST_ROBOTS", 1)
    assert (await client.post(ROBOTS, json={"name": "a"}, headers=AS_ANN)).status_code == 201
    answer = await client.post(ROBOTS, json={"name": "b"}, headers=AS_ANN)
    assert (answer.status_code, codes(answer)) == (409, ["ROBOTS_FULL"])


async def test_a_damaged_file_is_a_failure_that_the_log_explains(
    serve: Managed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stays for the operator to inspect, and the response does not reveal its path."""
    client = await serve()
    path = robots_file(tmp_path / "root")
    path.write_text("{")
    for method, target in (("GET", ROBOTS), ("POST", ROBOTS), ("DELETE", f"{ROBOTS}/ci")):
        body = {"name": "ci"} if method == "POST" else None
        answer = await client.request(method, target, json=body, headers=AS_ANN)
        assert (answer.status_code, codes(answer)) == (500, ["UNKNOWN"])
        assert str(tmp_path) not in answer.text
    assert path.read_text() == "{"
    assert "robots.json is damaged: it is not JSON" in caplog.text


async def test_a_robot_administers_if_it_is_named(serve: Managed, tmp_path: Path) -> None:
    """Other robots do not, whatever the rules grant them."""
    client = await serve()
    store = RobotStore(robots_file(tmp_path / "root"))
    boss, ci = [await to_thread(store.create, name) for name in ("boss", "ci")]
    assert (await client.get(ROBOTS, headers=basic("robot$boss", boss.secret))).status_code == 200
    assert (await client.get(ROBOTS, headers=basic("robot$ci", ci.secret))).status_code == 403


async def test_a_token_must_grant_administration(serve: Managed) -> None:
    """One for images gets a challenge; a user who is no administrator gets no sufficient token."""
    client = await serve()
    scopes = ("repository:team/app:pull registry:catalog:*", "registry:administration:*")
    for shown, statuses in ((AS_ANN, (401, 200)), (AS_BOB, (403, 403))):
        for scope, status in zip(scopes, statuses, strict=True):
            asked = await client.get("/auth/token", params={"scope": scope}, headers=shown)
            token = {"Authorization": f"Bearer {asked.json()['token']}"}
            answer = await client.get(ROBOTS, headers=token)
            assert answer.status_code == status
            if status == 401:
                assert f'scope="{scopes[1]}"' in answer.headers["www-authenticate"]


async def test_no_page_gets_a_token_for_administration(serve: Managed) -> None:
    """Not from an origin in `http.cors` either, with a password that the browser has stored."""
    cors = {"origins": ["https://ui.example.com"], "credentials": "true"}
    client = await serve(http={"cors": cors})
    params = {"scope": "registry:administration:* repository:team/app:pull"}
    page = AS_ANN | {"Origin": "https://ui.example.com"}
    for headers, status in ((page, 401), (AS_ANN, 200)):
        asked = await client.get("/auth/token", params=params, headers=headers)
        token = {"Authorization": f"Bearer {asked.json()['token']}"}
        assert (await client.get(ROBOTS, headers=token)).status_code == status


async def test_administrators_of_a_file_change_with_it(tmp_path: Path, serve: Managed) -> None:
    """The file is watched as for its rules, and its groups count."""
    rules = tmp_path / "rules.yml"
    text = "groups: {ops: [bob]}\nrules: []\nadministrators: {groups: [ops]}\n"
    rules.write_text(text)
    client = await serve(access={"file": str(rules)})
    assert (await client.get(ROBOTS, headers=AS_BOB)).status_code == 200
    assert (await client.get(ROBOTS, headers=AS_ANN)).status_code == 403
    rules.write_text(text.replace("[bob]", "[ann]"))
    while (await client.get(ROBOTS, headers=AS_BOB)).status_code != 403:
        await to_thread(lambda: None)
    assert (await client.get(ROBOTS, headers=AS_ANN)).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"access": {}},
        {"auth": {}, "access": {}},
        {
            "auth": {
                "token": {
                    "realm": "https://auth.example.com/token",
                    "service": "registry",
                    "issuer": "auth.example.com",
                    "jwks": "{folder}/token.jwks",
                }
            }
        },
    ],
    ids=["passwords alone", "nobody asked", "tokens of others"],
)
async def test_the_api_exists_only_with_robots(
    serve: Managed, tmp_path: Path, more: Mapping[str, Any]
) -> None:
    """Otherwise its paths are unknown."""
    key = await to_thread(load_or_create_signing_key, tmp_path / "key.pem")
    (tmp_path / "token.jwks").write_text(json.dumps(jwks([key.public])))
    written = json.loads(json.dumps(more).replace("{folder}", str(tmp_path)))
    client = await serve(**written)
    for path in (ROBOTS, f"{ROBOTS}/ci", "/api/v1/openapi.json"):
        answer = await client.get(path, headers=AS_ANN)
        assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])


async def test_a_read_only_registry_lists_robots_and_changes_none(
    serve: Managed, tmp_path: Path
) -> None:
    """Changes are refused, and `Allow` has the methods that are left."""
    client = await serve(storage={"maintenance": {"readonly": {"enabled": True}}})
    await to_thread(RobotStore(robots_file(tmp_path / "root")).create, "ci")
    refused = [
        await client.post(ROBOTS, json={"name": "new"}, headers=AS_ANN),
        await client.delete(f"{ROBOTS}/ci", headers=AS_ANN),
    ]
    for answer in refused:
        assert (answer.status_code, codes(answer)) == (405, ["UNSUPPORTED"])
        assert answer.headers["allow"] == "GET, HEAD"
    listed = await client.get(ROBOTS, headers=AS_ANN)
    assert [each["name"] for each in listed.json()["robots"]] == ["ci"]


@pytest.mark.parametrize(
    ("http", "location"),
    [
        ({}, f"http://registry{ROBOTS}/ci"),
        ({"relativeurls": True}, f"{ROBOTS}/ci"),
        ({"host": "https://r.example.com"}, f"https://r.example.com{ROBOTS}/ci"),
        ({"host": "https://r.example.com", "relativeurls": True},
         f"https://r.example.com{ROBOTS}/ci"),
        ({"relativeurls": False}, f"http://registry{ROBOTS}/ci"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "/below"])
async def test_the_api_is_below_the_prefix(
    serve: Managed, http: Mapping[str, Any], location: str, prefix: str
) -> None:
    """`Location` is made as for pushes."""
    client = await serve(http={**http, **({"prefix": f"{prefix}/"} if prefix else {})})
    made = await client.post(f"{prefix}{ROBOTS}", json={"name": "ci"}, headers=AS_ANN)
    assert made.headers["location"] == location.replace("/api", f"{prefix}/api")
    assert (await client.get(made.headers["location"], headers=AS_ANN)).status_code == 200
    described = await client.get(f"{prefix}/api/v1/openapi.json", headers=AS_BOB)
    assert described.json()["servers"] == [{"url": f"{prefix}/api/v1"}]
    if prefix:
        assert (await client.get(ROBOTS, headers=AS_ANN)).status_code == 404


# Types that a browser sends without a preflight (Fetch, "CORS-safelisted request-header").
@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonx",
    ],
)
async def test_no_form_of_another_page_creates_a_robot(
    serve: Managed, tmp_path: Path, content_type: str | None
) -> None:
    """Although the browser may send its visitor's credentials."""
    client = await serve()
    headers = AS_ANN | ({"Content-Type": content_type} if content_type else {})
    answer = await client.post(ROBOTS, content=b'{"name": "ci"}', headers=headers)
    assert (answer.status_code, codes(answer)) == (415, ["UNSUPPORTED"])
    assert not robots_file(tmp_path / "root").exists()


@pytest.mark.parametrize("origins", [["https://ui.example.com"], ["*"]])
async def test_pages_of_other_origins_are_refused(serve: Managed, origins: list[str]) -> None:
    """`http.cors` opens the registry, not its management."""
    client = await serve(http={"cors": {"origins": origins}})
    origin = {"Origin": "https://ui.example.com"}
    asks = origin | {"Access-Control-Request-Method": "POST"}
    assert (await client.options("/v2/_catalog", headers=asks)).status_code == 204
    for path in (ROBOTS, f"{ROBOTS}/ci", "/api/v1/openapi.json"):
        preflight = await client.options(path, headers=asks | AS_ANN)
        answer = await client.get(path, headers=origin | AS_ANN)
        assert preflight.status_code == 405
        for each in (preflight, answer):
            assert not [name for name in each.headers if name.startswith("access-control-")]


async def test_changes_and_refusals_are_lines_of_the_audit_log(tmp_path: Path) -> None:
    """Each names the caller and the robot; reads are not logged, and no line has a secret."""
    log = tmp_path / "audit.log"
    more = {"audit": {"enabled": True, "file": log}, "http": {"prefix": "/below/"}}
    settings = await to_thread(settings_in, tmp_path, more)
    async with alive(settings) as client:
        url = f"/below{ROBOTS}"
        made = await client.post(url, json={"name": "ci"}, headers=AS_ANN)
        await client.get(url, headers=AS_ANN)
        await client.post(url, json={"name": "ci"}, headers=AS_ANN)
        await client.post(url, json={"name": "other"}, headers=AS_BOB)
        await client.delete(f"{url}/ci", headers=AS_BOB)
        await client.get(url, headers=AS_BOB)
        await client.delete(f"{url}/ci", headers=basic("ann", "not it"))
        await client.delete(f"{url}/ci", headers=AS_ANN)
        await client.delete(f"{url}/No%20Name", headers=AS_BOB)
    text = await to_thread(log.read_text)
    lines = [json.loads(line) for line in text.splitlines()]
    names = ("who", "action", "robot", "outcome", "status")
    assert [tuple(line[name] for name in names) for line in lines] == [
        ("ann", "create robot", "ci", "allowed", 201),
        ("bob", "create robot", "", "refused", 403),
        ("bob", "revoke robot", "ci", "refused", 403),
        ("bob", "list robots", "", "refused", 403),
        ("", "revoke robot", "ci", "refused", 401),
        ("ann", "revoke robot", "ci", "allowed", 204),
        ("bob", "revoke robot", "", "refused", 403),
    ]
    assert [line["rule"] for line in lines[:2]] == [
        "access.administrators",
        "access.administrators does not name them",
    ]
    assert made.json()["key"] not in text
    assert "rk_" not in text
    assert "password" not in text


@pytest.mark.parametrize(
    "path", [f"{ROBOTS}%0A", f"{ROBOTS}/", f"{ROBOTS}%2F", "/api/v1//robots", "/api/v1/%2E/robots"]
)
async def test_other_spellings_of_a_path_are_refused(serve: Managed, path: str) -> None:
    """The audit log would miss what they do."""
    client = await serve()
    answer = await client.post(path, json={"name": "ci"}, headers=AS_ANN)
    assert answer.status_code in (301, 404, 405)
    listed = await client.get(ROBOTS, headers=AS_ANN)
    assert listed.json()["robots"] == []
    assert (await client.get(ROBOTS, headers=AS_ANN)).json() == {"robots": []}


async def test_tokens_have_one_path(serve: Managed) -> None:
    """As for the API: a login by another one would be in no audit log."""
    client = await serve()
    assert (await client.get("/auth/token", headers=AS_ANN)).status_code == 200
    assert (await client.get("/auth/token%0A", headers=AS_ANN)).status_code == 404


async def test_switched_off_methods_are_lines_of_the_audit_log(tmp_path: Path) -> None:
    """As for pushes; a method that a path does not have is not."""
    log = tmp_path / "audit.log"
    more = {
        "audit": {"enabled": True, "file": log},
        "storage": {"maintenance": {"readonly": {"enabled": True}}},
    }
    settings = await to_thread(settings_in, tmp_path, more)
    async with alive(settings) as client:
        await client.post(ROBOTS, json={"name": "ci"}, headers=AS_ANN)
        await client.delete(ROBOTS, headers=AS_ANN)
    (line,) = [json.loads(each) for each in (await to_thread(log.read_text)).splitlines()]
    assert (line["action"], line["robot"], line["status"]) == ("create robot", "ci", 405)
    assert line["rule"] == "switched off by the configuration"


async def test_limits_apply_to_the_api(serve: Managed) -> None:
    """Requests per second and wrong passwords are counted together with those of /v2."""
    client = await serve(limits={"logins": {"failures": 2}})
    for _ in range(2):
        assert (await client.get(ROBOTS, headers=basic("ann", "not it"))).status_code == 401
    answer = await client.get(ROBOTS, headers=AS_ANN)
    assert (answer.status_code, codes(answer)) == (429, ["TOOMANYREQUESTS"])
    client = await serve(limits={"requests": {"total": 1, "burst": 1}})
    statuses = [(await client.get(ROBOTS, headers=AS_ANN)).status_code for _ in range(2)]
    assert statuses == [200, 429]
