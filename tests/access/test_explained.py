"""`explain` agrees with a served registry, and with the grants of its tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry_server.access.interfaces import ADMINISTRATION, CATALOG
from registry_server.access.robots import RobotStore, robots_file
from registry_server.commands.explain import Question, read_policy
from registry_server.config import ConfigError, Settings
from registry_server.config.load import load
from registry_server.wiring.app import build
from storage.drivers.memory import MemoryDriver
from tests.access.conftest import Files
from tests.support import users
from tests.support.documents import image_manifest
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.asgi import Request, ask
from tests.v2.pushes import ABSENT, CONFIG, LAYER, MANIFEST

NAMES: Final = ("al", "alexandra-the-great", "Bob", "odd@name", "a.b")
ROBOT: Final = "robot:ci"
CALLERS: Final = ("-", *NAMES, ROBOT)
PLACES: Final = ("team", "team/app", "home/al/x", "home/alexandra-the-great/x", "al", "a.b/c/d")
ACTIONS: Final = ("pull", "push", "overwrite", "delete")
PASSWORDS: Final = {name: f"the password of {name}" for name in NAMES}
LINES: Final = users.lines(PASSWORDS)
MOVED: Final = image_manifest(CONFIG, [LAYER, LAYER])

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_WORDS = st.lists(st.sampled_from([*ACTIONS, CATALOG, "*"]), max_size=3)
_GLOBS = st.sampled_from(
    ["**", "*", "team", "team/**", "team/*", "**/app", "home/{user}/**", "home/*/**", "home/a*/**",
     "home/al/**", "**/{user}/**", "{user}", "a?", "*/?/**", "{user}/**", "home/??/x", "**/x"]
)  # fmt: skip
_RULE = st.fixed_dictionaries(
    {"users": st.lists(st.sampled_from([*NAMES, ROBOT, "*"]), max_size=2)},
    optional={
        "repositories": st.lists(_GLOBS, min_size=1, max_size=3),
        "groups": st.lists(st.sampled_from(["dev", "ops"]), max_size=1),
        "anonymous": st.booleans(),
        "actions": _WORDS,
        "deny": _WORDS,
    },
)
_MEMBERS = st.lists(st.sampled_from([*NAMES, ROBOT]), max_size=2)
ACCESS = st.fixed_dictionaries(
    {
        "groups": st.fixed_dictionaries({"dev": _MEMBERS, "ops": _MEMBERS}),
        "rules": st.lists(_RULE, max_size=4),
        "administrators": st.fixed_dictionaries(
            {"users": _MEMBERS, "groups": st.lists(st.sampled_from(["dev"]), max_size=1)}
        ),
    }
)


class Registry:
    """A registry with content in every repository, served by one set of rules after another."""

    def __init__(self, runner: asyncio.Runner, files: Files) -> None:
        self._run = runner.run
        self._files = files
        self._driver = MemoryDriver()
        files.users.write_text(LINES)
        made = RobotStore(robots_file(files.root)).create("ci")
        self._passwords = {**PASSWORDS, ROBOT: made.secret}
        self._moved: set[str] = set()  # where the tag is not at its first manifest
        self._app = build(files.settings({"auth": {"none": {}}, "access": {}}), self._driver)
        for name in PLACES:
            self._fill(name)

    def serve(self, access: object) -> Settings:
        """Serve with these rules; return the arguments of `explain`, or raise `ConfigError`."""
        config = self._files.folder / "config.yml"
        config.write_text(yaml.safe_dump({"version": 0.1, **self._document(access)}))
        loaded = load(config, {}).settings
        self._app = build(loaded, self._driver)
        return loaded

    def may(self, caller: str, action: str, name: str) -> bool:
        """Tell whether the registry allows a caller an action; nothing is changed."""
        status = self._ask(*_request(action, name), self._credentials(caller))
        assert status in (200, 202, 400, 401, 403, 404), (caller, action, name, status)
        return status not in (401, 403)

    def may_move(self, caller: str, name: str) -> bool:
        """Tell whether a caller may move a tag; it is moved back and forth."""
        other = MANIFEST if name in self._moved else MOVED
        is_moved = self._put(name, other, self._credentials(caller)) == 201
        if is_moved:
            self._moved ^= {name}
        return is_moved

    def token(self, caller: str, name: str) -> list[dict[str, Any]]:
        """Return the grants of a token that requests everything."""
        scopes = [f"repository:{name}:pull,push,overwrite,delete", "registry:catalog:*"]
        query = urlencode([("service", "registry"), *(("scope", each) for each in scopes)])
        answer = self._run(
            ask(
                self._app,
                Request("GET", "/auth/token", query.encode(), self._credentials(caller)),
            )
        )
        assert answer.status == 200, answer.body
        _, claims, _ = json.loads(answer.body)["token"].split(".")
        access: list[dict[str, Any]] = json.loads(base64.urlsafe_b64decode(f"{claims}=="))["access"]
        return access

    def _document(self, access: object) -> dict[str, object]:
        return {
            "storage": {
                "filesystem": {"rootdirectory": str(self._files.root)},
                "delete": {"enabled": True},
            },
            "auth": {"htpasswd": {"realm": "tests", "path": str(self._files.users)}},
            "access": access,
        }

    def _credentials(self, caller: str) -> Headers:
        if caller == "-":
            return ()
        shown = base64.b64encode(f"{caller.replace(':', '$')}:{self._passwords[caller]}".encode())
        return ((b"authorization", b"Basic " + shown),)

    def _fill(self, name: str) -> None:
        for blob in (LAYER, CONFIG):
            path = f"/v2/{name}/blobs/uploads/?digest={sha256(blob)}"
            assert self._ask("POST", path, (), blob) == 201
        assert self._put(name, MANIFEST, ()) == 201

    def _put(self, name: str, manifest: bytes, headers: Headers) -> int:
        kind = (b"content-type", OCI_MANIFEST.encode())
        return self._ask("PUT", f"/v2/{name}/manifests/v1", (*headers, kind), manifest)

    def _ask(self, method: str, path: str, headers: Headers, body: bytes = b"") -> int:
        path, _, query = path.partition("?")
        return self._run(
            ask(self._app, Request(method, path, query.encode(), headers, body))
        ).status


def _request(action: str, name: str) -> tuple[str, str]:
    """Return a request that needs an action and changes nothing."""
    return {
        "pull": ("GET", f"/v2/{name}/manifests/v1"),
        "push": ("POST", f"/v2/{name}/blobs/uploads/"),
        "delete": ("DELETE", f"/v2/{name}/manifests/{ABSENT}"),
        CATALOG: ("GET", "/v2/_catalog"),
        ADMINISTRATION: ("GET", "/api/v1/robots"),
    }[action]


def usable(words: set[str]) -> set[str]:
    """Return the actions of a token that a request needs no others for."""
    usable = words & {"pull", "delete"}
    if {"pull", "push"} <= words:
        usable |= words & {"push", "overwrite"}
    return usable


@pytest.fixture
def registry(files: Files) -> Iterator[Registry]:
    """Yield a registry over one storage."""
    with asyncio.Runner() as runner:
        yield Registry(runner, files)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACCESS)
def test_explain_and_the_registry_decide_the_same(
    registry: Registry, access: dict[str, Any]
) -> None:
    """For generated rules, each caller, each action and each repository."""
    try:
        served = registry.serve(access)
    except ConfigError:
        return
    policy = read_policy(served.access)

    def explained(caller: str, action: str, name: str) -> bool:
        return Question.parse(caller, action, name, []).put_to(policy).allowed

    for caller in CALLERS:
        for action in (CATALOG, ADMINISTRATION):
            assert registry.may(caller, action, "") == explained(caller, action, "a"), caller
        for name in PLACES:
            granted = {action for action in ACTIONS if explained(caller, action, name)}
            asked = {
                each for each in ("pull", "push", "delete") if registry.may(caller, each, name)
            }
            assert asked == granted - {"overwrite"}, (caller, name)
            assert registry.may_move(caller, name) == ("overwrite" in granted), (caller, name)
            token = registry.token(caller, name)
            assert usable({word for each in token for word in each["actions"]}) == granted, token
            has_catalog = any(each["type"] == "registry" for each in token)
            assert has_catalog == explained(caller, CATALOG, name)
