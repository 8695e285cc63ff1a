"""The configurations of docs/access.md do what it says, and its commands work as printed.

For each configuration, everything that callers may do is listed here, and all else is tried too.
"""

from __future__ import annotations

import json
import re
import shlex
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from typer.testing import CliRunner, Result

from registry_server.access import login_limits
from registry_server.access.interfaces import Action, Grants
from registry_server.access.robots import RobotStore, robots_file
from registry_server.access.tokens import bearer, refresh
from registry_server.access.tokens.bearer import TokenIssuer
from registry_server.access.tokens.signing_keys import jwks, load_or_create_signing_key
from registry_server.access.users import password_cache
from registry_server.commands.command_line import complete
from registry_server.config import Settings
from registry_server.limits import buckets
from storage.drivers.memory import MemoryDriver
from tests.access.conftest import basic
from tests.access.conftest import bearer as bearer_header
from tests.support import users
from tests.support.app import serve_in_process
from tests.support.documents import image_manifest
from tests.support.secrets import nothing_told
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.pushes import CONFIG, LAYER, MANIFEST
from tests.v2.test_access import MANUAL, settings_of, situations

PASSWORDS = {name: f"the password of {name}" for name in ("ann", "bob", "admin")}
WRONG: Mapping[str, Mapping[str, str]] = {
    "anonymous": {},
    "wrong": basic("ann", "not the one"),
    "unknown": basic("eve", "not the one"),
}

NAMES = ("app", "team/app", "home/ann/x", "home/bob/x", "team/of/others", "home")
APP, TEAM, ANNS, BOBS, DEEP, HOME = NAMES
# The actions and their status for allowed callers: no configuration here enables deletion.
ALLOWED = {"pull": 200, "push": 201, "overwrite": 201, "delete": 405}
EVERYTHING = " ".join(ALLOWED)
ALL = dict.fromkeys(NAMES, EVERYTHING)
PULLS = dict.fromkeys(NAMES, "pull")

# What each caller may do with which repository. Invalid credentials grant nothing.
MAY: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "just me": {"anonymous": {}, "ann": ALL, "bob": ALL, "admin": ALL},
    "a team": {
        "anonymous": {},
        "ann": {TEAM: "pull push", DEEP: "pull push", ANNS: EVERYTHING},
        "bob": {TEAM: "pull push", DEEP: "pull push", BOBS: EVERYTHING},
        "admin": ALL,
    },
    "public pull": {"anonymous": PULLS, "ann": ALL, "bob": PULLS, "admin": PULLS},
    "machines": {
        "anonymous": {},
        "robot$ci": dict.fromkeys((TEAM, DEEP), "pull push overwrite"),
        "robot$node": dict.fromkeys((TEAM, DEEP), "pull"),
    },
    "a token server that is there": {
        "anonymous": {},
        "token for all": {APP: EVERYTHING},
        "token for pulling": {APP: "pull"},
    },
}
# The callers that may list repositories, and which ones.
LISTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "just me": {"ann": NAMES, "bob": NAMES, "admin": NAMES},
    "a team": {"ann": (TEAM, DEEP, ANNS), "bob": (TEAM, DEEP, BOBS), "admin": NAMES},
    "public pull": {"anonymous": NAMES, "ann": NAMES, "bob": NAMES, "admin": NAMES},
    "machines": {},
    "a token server that is there": {"token for all": NAMES},
}
CALLS = [
    (situation, caller)
    for situation, callers in MAY.items()
    for caller in (*callers, *(each for each in WRONG if each not in callers))
]

Headers: TypeAlias = Mapping[str, str]


class Place:
    """A configuration of the manual: its files in a folder, and a registry over existing content.

    Every repository has the same image, as `v1`.
    """

    def __init__(self, folder: Path, situation: str) -> None:
        self.folder = folder
        self.settings = settings_of(situations()[situation], folder)
        self.callers: dict[str, Headers] = dict(WRONG)

    def prepare(self) -> None:
        """Write the files that the configuration needs, and create the callers' credentials."""
        (self.folder / "root").mkdir()
        (self.folder / "users").write_text(users.lines(PASSWORDS))
        for name, password in PASSWORDS.items():
            self.callers[name] = basic(name, password)
        if self.settings.auth.token is None:
            self._make_robots()
        else:
            self._make_tokens()

    def _make_robots(self) -> None:
        store = RobotStore(robots_file(self.settings.storage.filesystem.rootdirectory))
        for name in ("ci", "node"):
            self.callers[f"robot${name}"] = basic(f"robot${name}", store.create(name).secret)

    def _make_tokens(self) -> None:
        key = load_or_create_signing_key(self.folder / "key.pem")
        (self.folder / "token.jwks").write_text(json.dumps(jwks([key.public])))
        issuer = TokenIssuer(key, "auth.example.com")
        # Tokens of other issuers have no word for moving a tag.
        words = frozenset({Action.PULL, Action.PUSH, Action.DELETE})
        for name, grants in {
            "token for all": Grants({APP: words}, catalog=True),
            "token for pulling": Grants({APP: frozenset({Action.PULL})}),
        }.items():
            token = issuer.sign("ann", grants, "registry.example.com")
            self.callers[name] = bearer_header(token.text)


async def put(client: httpx.AsyncClient, path: str, raw: bytes, shown: Headers) -> httpx.Response:
    """Push a manifest."""
    headers = {**shown, "Content-Type": OCI_MANIFEST}
    return await client.put(path, content=raw, headers=headers)


async def populate(client: httpx.AsyncClient) -> None:
    """Push an image to every repository."""
    for name in NAMES:
        for content in (LAYER, CONFIG):
            target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
            assert (await client.post(target, content=content)).status_code == 201
        assert (await put(client, f"/v2/{name}/manifests/v1", MANIFEST, {})).status_code == 201


Serve: TypeAlias = Callable[[str], Awaitable[tuple[httpx.AsyncClient, Place]]]


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """Serve a configuration of the manual over existing content."""
    async with AsyncExitStack() as stack:

        async def start(situation: str) -> tuple[httpx.AsyncClient, Place]:
            place = await to_thread(Place, tmp_path, situation)
            await to_thread(place.prepare)
            driver = MemoryDriver()
            # Without access control, so the content does not depend on the tested configuration.
            async with serve_in_process(Settings(), driver) as everybody:
                await populate(everybody)
            serving = serve_in_process(place.settings, driver)
            return await stack.enter_async_context(serving), place

        yield start


async def ask(client: httpx.AsyncClient, what: str, name: str, shown: Headers) -> list[int]:
    """Do an action on a repository in each way; return the statuses."""
    manifest, blob = f"/v2/{name}/manifests/v1", f"/v2/{name}/blobs/{sha256(LAYER)}"
    other = image_manifest(CONFIG, [LAYER], note="another")
    if what == "pull":
        paths = (manifest, blob, f"/v2/{name}/tags/list", f"/v2/{name}/referrers/{sha256(LAYER)}")
        answers = [
            await client.request(method, path, headers=shown)
            for path in paths
            for method in ("GET", "HEAD")
        ]
    elif what == "push":
        again = f"/v2/{name}/blobs/uploads/?digest={sha256(LAYER)}"
        answers = [
            await client.post(again, content=LAYER, headers=shown),
            await put(client, f"/v2/{name}/manifests/new", MANIFEST, shown),
        ]
    elif what == "overwrite":
        answers = [await put(client, manifest, other, shown)]
    else:
        answers = [await client.delete(path, headers=shown) for path in (manifest, blob)]
    return [each.status_code for each in answers]


@pytest.mark.parametrize("situation", MAY)
def test_no_password_is_sent_over_plain_http(tmp_path: Path, situation: str) -> None:
    """Each configuration has TLS, or listens where no other machine can connect."""
    settings = settings_of(situations()[situation], tmp_path).http
    host = settings.listen_address.host
    assert settings.tls.certificate is not None or ip_address(host or "::").is_loopback


@pytest.mark.parametrize(("situation", "caller"), CALLS)
async def test_callers_may_do_what_the_manual_says(
    serve: Serve, situation: str, caller: str
) -> None:
    """Refused callers are challenged, or told that they may not."""
    client, place = await serve(situation)
    shown, may = place.callers[caller], MAY[situation].get(caller, {})
    is_known = caller not in WRONG and not caller.startswith("token")
    refusal = 403 if is_known else 401
    for name, what in product(NAMES, ALLOWED):
        wanted = ALLOWED[what] if what in may.get(name, "").split() else refusal
        assert set(await ask(client, what, name, shown)) == {wanted}, (name, what)
    listed = await client.get("/v2/_catalog", headers=shown)
    names = LISTS[situation].get(caller)
    if names is None:
        assert listed.status_code == refusal
    else:
        assert listed.json() == {"repositories": sorted(names)}


@pytest.mark.parametrize("situation", MAY)
async def test_every_challenge_can_be_answered(serve: Serve, situation: str) -> None:
    """Without credentials `/v2/` sends a challenge; with those of any user it does not."""
    client, place = await serve(situation)
    asked = await client.get("/v2/")
    assert asked.status_code == 401
    scheme = "Basic" if situation == "just me" else "Bearer"
    assert asked.headers["www-authenticate"].startswith(f"{scheme} realm=")
    for caller in MAY[situation].keys() - {"anonymous"}:
        assert (await client.get("/v2/", headers=place.callers[caller])).status_code == 200


async def test_without_auth_and_access_there_is_no_challenge() -> None:
    """As at the start of the manual: on localhost no credentials are needed."""
    async with serve_in_process(Settings(), MemoryDriver()) as client:
        await populate(client)
        for path in ("/v2/", "/v2/_catalog", "/v2/app/tags/list"):
            assert (await client.get(path)).status_code == 200


def typed(folder: Path, first: str) -> tuple[list[str], list[str]]:
    """Return the arguments of a command in the manual, and its printed output."""
    block = re.search(rf"^\$ registry-server ({first} .*)\n((?:[^$`].*\n)*)", _manual(), re.M)
    assert block is not None
    words = shlex.split(block[1].replace("/etc/registry", str(folder)))
    return words, block[2].splitlines()


def _manual() -> str:
    return MANUAL.read_text()


def run(arguments: list[str], said: str = "") -> Result:
    """Run a command, with `said` on its standard input."""
    done = CliRunner().invoke(complete(), arguments, input=said)
    assert done.exit_code == 0, done.output
    nothing_told(done.stderr, arguments)
    return done


async def test_a_user_is_created_as_printed(tmp_path: Path) -> None:
    """`registry-server htpasswd` sets a password, and the registry accepts it."""
    words, _ = typed(tmp_path, "htpasswd")
    await to_thread(run, [*words, "--cost", "4"], "a new one\n")
    settings = await to_thread(settings_of, situations()["just me"], tmp_path)
    async with serve_in_process(settings, MemoryDriver()) as client:
        shown = basic("ann", "a new one")
        assert (await client.get("/v2/", headers=shown)).status_code == 200
        assert (await client.get("/v2/", headers=basic("ann", "not the one"))).status_code == 401


async def test_a_robot_is_created_as_printed(tmp_path: Path) -> None:
    """`registry-server robots create` prints the key of the robot, and nothing else."""
    (tmp_path / "root").mkdir()
    settings = await to_thread(settings_of, situations()["machines"], tmp_path)
    words, _ = typed(tmp_path, "robots create")
    secret = (await to_thread(run, words)).stdout.strip()
    async with serve_in_process(settings, MemoryDriver()) as client:
        for name in ("robot$ci", "robot:ci"):
            shown = basic(name, secret)
            answer = await client.post("/v2/team/app/blobs/uploads/", headers=shown)
            assert answer.status_code == 202


def test_the_rules_are_explained_as_the_manual_shows(tmp_path: Path) -> None:
    """`registry-server explain` prints that line, for the rules of the team."""
    settings_of(situations()["a team"], tmp_path)
    words, printed = typed(tmp_path, "explain")
    assert run(words).stdout.splitlines() == printed


@pytest.mark.parametrize(
    ("says", "is_so"),
    [
        ("five minutes (`access.tokens.lifetime`)", bearer.LIFETIME == 5 * 60),
        ("one more minute for clocks that differ", bearer.LEEWAY == 60),
        ("for thirty days", refresh.LIFETIME == 30 * 24 * 60 * 60),
        ("is cached for a minute", password_cache._SECONDS == 60),
        ("4096 addresses with the latest failures", login_limits._MOST == 4096),
        ("the latest 16384 that sent requests", buckets._MOST == 16384),
    ],
)
def test_numbers_in_the_manual_are_the_real_ones(says: str, is_so: bool) -> None:
    """Also across line breaks, they equal those of the registry."""
    assert says in " ".join(_manual().split())
    assert is_so
