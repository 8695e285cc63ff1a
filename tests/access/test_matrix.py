"""Every route, for every caller, in every mode: what is refused, how, and what that reveals.

The routes are read from the served tables, so a new route without a decision here fails.
"""

from __future__ import annotations

import base64
import json
import time
from asyncio import to_thread
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import product
from typing import Any, Final, TypeAlias
from uuid import uuid4

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from registry_server.access.interfaces import Action, Grants
from registry_server.access.robots import RobotStore
from registry_server.access.tokens.bearer import TokenIssuer
from registry_server.access.tokens.signing_keys import SigningKey, load_signing_key
from registry_server.api import paths
from registry_server.v2.urls import Urls
from registry_server.wiring.access.setup import assemble_access
from storage.drivers.memory import MemoryDriver
from tests.access.conftest import DELETABLE, Files, Guarded, basic, bearer
from tests.support.documents import image_manifest
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.pushes import ABSENT, CONFIG, DIGEST, LAYER, MANIFEST
from tests.v2.test_deleting_disabled import table


class Needs(Enum):
    """What a route requires."""

    BASE = "base"
    CATALOG = "catalog"
    PULL = "pull"
    PUSH = "pull and push"
    DELETE = "delete"


MANIFESTS: Final = "/v2/<name>/manifests/<reference>"
BLOBS: Final = "/v2/<name>/blobs/<digest>"
UPLOADS: Final = "/v2/<name>/blobs/uploads/"
UPLOAD: Final = "/v2/<name>/blobs/uploads/<upload>"
REFERRERS: Final = "/v2/<name>/referrers/<digest>"

# A path and a method.
Row: TypeAlias = tuple[str, str]

NEEDS: Mapping[Row, Needs] = {
    ("/v2/", "GET"): Needs.BASE,
    ("/v2/", "HEAD"): Needs.BASE,
    ("/v2", "GET"): Needs.BASE,
    ("/v2", "HEAD"): Needs.BASE,
    ("/v2/_catalog", "GET"): Needs.CATALOG,
    ("/v2/_catalog", "HEAD"): Needs.CATALOG,
    (MANIFESTS, "GET"): Needs.PULL,
    (MANIFESTS, "HEAD"): Needs.PULL,
    (MANIFESTS, "PUT"): Needs.PUSH,
    (MANIFESTS, "DELETE"): Needs.DELETE,
    (BLOBS, "GET"): Needs.PULL,
    (BLOBS, "HEAD"): Needs.PULL,
    (BLOBS, "DELETE"): Needs.DELETE,
    (UPLOADS, "POST"): Needs.PUSH,
    ("/v2/<name>/blobs/uploads", "POST"): Needs.PUSH,
    (UPLOAD, "GET"): Needs.PUSH,
    (UPLOAD, "HEAD"): Needs.PUSH,
    (UPLOAD, "PATCH"): Needs.PUSH,
    (UPLOAD, "PUT"): Needs.PUSH,
    (UPLOAD, "DELETE"): Needs.PUSH,
    ("/v2/<name>/tags/list", "GET"): Needs.PULL,
    ("/v2/<name>/tags/list", "HEAD"): Needs.PULL,
    (REFERRERS, "GET"): Needs.PULL,
    (REFERRERS, "HEAD"): Needs.PULL,
}


class Shows(Enum):
    """The credentials that a token route reads."""

    NOTHING = "nothing"
    HEADER = "the Authorization header"
    FORM = "the form"


TOKENS: Final = "/auth/token"
TOKEN_ROUTES: Mapping[Row, Shows] = {
    (TOKENS, "GET"): Shows.HEADER,
    (TOKENS, "HEAD"): Shows.HEADER,
    (TOKENS, "POST"): Shows.FORM,
    (TOKENS, "OPTIONS"): Shows.NOTHING,
    ("/auth/jwks", "GET"): Shows.NOTHING,
    ("/auth/jwks", "HEAD"): Shows.NOTHING,
}


class Manages(Enum):
    """What a route of the management API requires."""

    NOTHING = "whoever may learn that this is a registry"
    ROBOTS = "an administrator"


API = paths.ROOT
ROBOTS: Final = f"{API}/robots"
ROBOT: Final = f"{API}/robots/{{name}}"
API_ROUTES: Mapping[Row, Manages] = {
    (f"{API}/openapi.json", "GET"): Manages.NOTHING,
    (f"{API}/openapi.json", "HEAD"): Manages.NOTHING,
    (ROBOTS, "GET"): Manages.ROBOTS,
    (ROBOTS, "HEAD"): Manages.ROBOTS,
    (ROBOTS, "POST"): Manages.ROBOTS,
    (ROBOT, "GET"): Manages.ROBOTS,
    (ROBOT, "HEAD"): Manages.ROBOTS,
    (ROBOT, "DELETE"): Manages.ROBOTS,
}

MODES: Mapping[str, Mapping[str, Any]] = {
    "normal": DELETABLE,
    "read-only": {
        "storage": {
            "delete": {"enabled": True},
            "maintenance": {"readonly": {"enabled": True}},
        }
    },
    "undeletable": {},
}
WRITES = frozenset({"PUT", "POST", "PATCH", "DELETE"})
# What a mode switches off for allowed callers; an upload is no content yet, so it may be cancelled.
SWITCHED_OFF: Mapping[str, frozenset[Row]] = {
    "normal": frozenset(),
    "read-only": frozenset(row for row in NEEDS if row[1] in WRITES),
    "undeletable": frozenset({(MANIFESTS, "DELETE"), (BLOBS, "DELETE")}),
}

ALL = frozenset(Needs)
PULL_ONLY = frozenset({Needs.PULL})
NONE: frozenset[Needs] = frozenset()


# `team` and `public` have the actions on the repositories there; routes without a repository are
# the same for both.
@dataclass(frozen=True, slots=True)
class Caller:
    """A caller: its rights, and the status of a refusal."""

    team: frozenset[Needs]
    public: frozenset[Needs]
    refusal: int = 401

    def may(self, place: str) -> frozenset[Needs]:
        """Return the caller's actions on repositories of a kind."""
        return self.team if place == "team" else self.public


KNOWN = frozenset({Needs.BASE})
CALLERS: Mapping[str, Caller] = {
    "anonymous": Caller(NONE, PULL_ONLY),
    "reader": Caller(KNOWN | {Needs.PULL, Needs.CATALOG}, KNOWN | {Needs.PULL, Needs.CATALOG}, 403),
    "writer": Caller(KNOWN | {Needs.PULL, Needs.PUSH}, KNOWN | {Needs.PULL}, 403),
    "other": Caller(KNOWN, KNOWN | {Needs.PULL}, 403),
    "admin": Caller(ALL, ALL, 403),
    # The tokens are for `team` alone.
    "narrow token": Caller(KNOWN | {Needs.PULL}, KNOWN),
    "wide token": Caller(ALL, KNOWN | {Needs.CATALOG}),
    "managing token": Caller(KNOWN, KNOWN),
    "expired token": Caller(NONE, NONE),
    "forged token": Caller(NONE, NONE),
    "wrong password": Caller(NONE, NONE),
    "unknown name": Caller(NONE, NONE),
}
# A token for images grants no management, and a token for management no images.
MANAGERS = frozenset({"admin", "managing token"})
USERS = frozenset({"reader", "writer", "other", "admin"})

# An existing and a missing repository, with names of the same length.
PLACES: Mapping[str, tuple[str, str]] = {
    "team": ("team/app", "team/nop"),
    "public": ("public/app", "public/nop"),
}
PIECE = b"a piece"
ANOTHER = image_manifest(CONFIG, [LAYER], note="never pushed before")


# Existing and missing values of a parameter have the same length, so that whole responses can be
# compared.
@dataclass(frozen=True, slots=True)
class Target:
    """The target of a request, and whether it exists."""

    name: str
    exists: bool
    last: str

    def path(self, route: str) -> str:
        """Return the path of a route to the target."""
        head, _, _ = route.rpartition("/")
        return f"{head.replace('<name>', self.name)}/{self.last}"


Answers: TypeAlias = list[tuple[Target, httpx.Response]]


@pytest.fixture
def driver() -> MemoryDriver:
    """Return a storage; the tests do not depend on its kind."""
    return MemoryDriver()


async def populate(client: httpx.AsyncClient) -> None:
    """Push an image to the repositories that exist, as the administrator."""
    for name, _ in PLACES.values():
        for content in (LAYER, CONFIG):
            target = f"/v2/{name}/blobs/uploads/?digest={sha256(content)}"
            pushed = await client.post(target, content=content, headers=basic("admin"))
            assert pushed.status_code == 201
        headers = basic("admin") | {"Content-Type": OCI_MANIFEST}
        target = f"/v2/{name}/manifests/v1"
        assert (await client.put(target, content=MANIFEST, headers=headers)).status_code == 201


def forger() -> SigningKey:
    """Create a key that is not trusted."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey.parse(pem)


def signed(
    key: SigningKey, actions: Iterable[Action], *, catalog: bool = True, age: int = 0
) -> str:
    """Sign a token for the administrator as the registry does, so many seconds ago."""
    grants = Grants({name: frozenset(actions) for name in PLACES["team"]}, catalog)
    issuer = TokenIssuer(key, "registry-server", clock=lambda: time.time() - age)
    return issuer.sign("admin", grants, "registry").text


def managing(key: SigningKey) -> str:
    """Sign a token for the administrator that grants only management."""
    grants = Grants({}, administration=True)
    return TokenIssuer(key, "registry-server").sign("admin", grants, "registry").text


def credentials(files: Files) -> dict[str, dict[str, str]]:
    """Return the headers of each caller; the registry's key is read from its file."""
    ours = load_signing_key(files.key)
    return {
        "anonymous": {},
        **{name: basic(name) for name in USERS},
        "narrow token": bearer(signed(ours, [Action.PULL], catalog=False)),
        "wide token": bearer(signed(ours, Action)),
        "managing token": bearer(managing(ours)),
        "expired token": bearer(signed(ours, Action, age=3600)),
        "forged token": bearer(signed(forger(), Action)),
        "wrong password": basic("admin", "not the one"),
        "unknown name": basic("nobody", "not the one"),
    }


async def begin(client: httpx.AsyncClient, name: str, shown: Mapping[str, str]) -> str:
    """Start an upload as the caller, or as the administrator if that fails; return its id."""
    begun = await client.post(f"/v2/{name}/blobs/uploads/", headers=shown)
    if begun.status_code != 202:
        begun = await client.post(f"/v2/{name}/blobs/uploads/", headers=basic("admin"))
    assert begun.status_code == 202
    return begun.headers["Docker-Upload-UUID"]


def targets(route: str, names: tuple[str, str], upload: str) -> list[Target]:
    """Return existing targets before missing ones, in an existing and in a missing repository."""
    here, nowhere = names
    last = route.rpartition("/")[2]
    there: Sequence[str] = (last,)
    absent: Sequence[str] = ()
    if route == MANIFESTS:
        there, absent = ("v1", DIGEST), ("v9", sha256(ANOTHER))
    elif route == UPLOAD:
        there, absent = (upload,), (str(uuid4()),)
    elif last == "<digest>":
        there, absent = (DIGEST if route == REFERRERS else sha256(LAYER),), (ABSENT,)
    known = [Target(here, True, each) for each in there]
    unknown = [Target(here, False, each) for each in absent]
    unknown += [Target(nowhere, False, each) for each in (*there, *absent)]
    return known + unknown


def body_of(row: Row, target: Target) -> bytes:
    """Return the body of a request."""
    if row == (MANIFESTS, "PUT"):
        return ANOTHER if target.last == sha256(ANOTHER) else MANIFEST
    return PIECE if row in {(UPLOAD, "PUT"), (UPLOAD, "PATCH")} else b""


async def send(
    client: httpx.AsyncClient, row: Row, target: Target, shown: Mapping[str, str]
) -> httpx.Response:
    """Send a request that succeeds if `target` exists and the caller is allowed."""
    route, method = row
    return await client.request(
        method,
        target.path(route),
        params={"digest": sha256(PIECE)} if row == (UPLOAD, "PUT") else {},
        content=body_of(row, target),
        headers={**shown, "Content-Type": OCI_MANIFEST},
    )


def without_names(answer: httpx.Response, target: Target) -> tuple[object, ...]:
    """Return a response without the name, which the caller knows."""
    fields = sorted((key, value.replace(target.name, "…")) for key, value in answer.headers.items())
    return answer.status_code, tuple(fields), answer.text.replace(target.name, "…")


def is_refusal(answer: httpx.Response, status: int) -> bool:
    """Tell whether a response is a complete refusal with that status."""
    asks = "www-authenticate" in answer.headers
    if answer.status_code != status or asks is not (status == 401):
        return False
    code = {401: "UNAUTHORIZED", 403: "DENIED"}[status]
    return answer.request.method == "HEAD" or answer.json()["errors"][0]["code"] == code


def is_allowed(answer: httpx.Response, *, exists: bool, off: bool) -> bool:
    """Tell whether a response is that of an allowed caller."""
    if off:
        return answer.status_code == 405
    return answer.is_success if exists else answer.status_code not in (401, 403, 405, 500)


def test_every_route_has_a_decision() -> None:
    """Each method of each route has a row, and no row has a route that no longer exists."""
    rows = {(each.path, method) for each in table() for method in each.methods}
    assert rows == set(NEEDS)


def test_every_token_route_has_a_decision(files: Files) -> None:
    """As above, outside `/v2`."""
    urls = Urls(host="", prefix="", trusted=())
    routes = assemble_access(files.settings({}), urls).routes
    rows = {(each.path, method) for each in routes for method in each.methods or ()}
    assert rows == set(TOKEN_ROUTES)


def test_every_route_of_the_management_api_has_a_decision(files: Files) -> None:
    """As above, below `/api`."""
    urls = Urls(host="", prefix="", trusted=())
    api = assemble_access(files.settings({}), urls).api
    assert api is not None
    rows = {(f"{API}{path}", each) for path, methods in api.methods.items() for each in methods}
    assert rows == set(API_ROUTES)


OUTSIDE = (
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/",
    "/api/v1/docs",
    "/api/v1/redoc",
    "/api/v1/users",
    "/api/v2/robots",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/metrics",
    "/debug",
    "/auth",
    "/v1/",
    "/v3/",
    "/v20",
)


async def test_there_are_no_other_routes(guarded: Guarded, files: Files) -> None:
    """Except `/`, which reveals nothing; not even the administrator finds more."""
    client = await guarded(DELETABLE)
    for shown in (await to_thread(credentials, files)).values():
        alive = await client.get("/", headers=shown)
        assert (alive.status_code, alive.content) == (200, b"")
        for path in OUTSIDE:
            assert (await client.get(path, headers=shown)).status_code == 404


@dataclass(frozen=True, slots=True)
class Situation:
    """A registry in some mode, another one over the same storage, and the caller's headers."""

    client: httpx.AsyncClient
    normal: httpx.AsyncClient
    shown: Mapping[str, str]

    async def targets(self, route: str, names: tuple[str, str]) -> list[Target]:
        """Return the targets of a route; an upload is a new one each time."""
        upload = await begin(self.normal, names[0], self.shown) if route == UPLOAD else ""
        return targets(route, names, upload)

    async def ask(self, row: Row, names: tuple[str, str]) -> list[tuple[Target, httpx.Response]]:
        """Send a request for each of these."""
        asked = await self.targets(row[0], names)
        return [(each, await send(self.client, row, each, self.shown)) for each in asked]


async def situation(guarded: Guarded, files: Files, caller: str, mode: str) -> Situation:
    """Serve the pushed content in a mode, to a caller."""
    normal = await guarded(DELETABLE)
    await populate(normal)
    client = await guarded(MODES[mode])
    return Situation(client, normal, (await to_thread(credentials, files))[caller])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("caller", CALLERS)
async def test_the_matrix(guarded: Guarded, files: Files, caller: str, mode: str) -> None:
    """Allowed callers are admitted; refused ones learn nothing of what exists."""
    asking = await situation(guarded, files, caller, mode)
    # Deletion comes last, because the other requests need the content.
    for row in sorted(NEEDS, key=lambda row: row[1] == "DELETE"):
        for place, names in PLACES.items():
            answers = await asking.ask(row, names)
            if NEEDS[row] in CALLERS[caller].may(place):
                off = row in SWITCHED_OFF[mode]
                let_through(row, answers, off=off)
            else:
                refused_alike(row, answers, CALLERS[caller].refusal)


def let_through(row: Row, answers: Answers, *, off: bool) -> None:
    """Check the responses to an allowed caller."""
    for target, answer in answers:
        fits = is_allowed(answer, exists=target.exists, off=off)
        assert fits, (row, target, answer.status_code, answer.text)


def refused_alike(row: Row, answers: Answers, status: int) -> None:
    """Check that all responses are the same refusal, whatever exists."""
    for target, answer in answers:
        assert is_refusal(answer, status), (row, target, answer.status_code, answer.text)
    seen = {without_names(answer, target) for target, answer in answers}
    assert len(seen) == 1, (row, seen)


@pytest.mark.parametrize(
    "caller", [name for name in CALLERS if name not in ("admin", "wide token")]
)
async def test_an_unknown_method_reveals_nothing(
    guarded: Guarded, files: Files, caller: str
) -> None:
    """It is refused for every caller, whatever exists."""
    asking = await situation(guarded, files, caller, "normal")
    for route, method in product({path for path, _ in NEEDS}, ("TRACE", "MOVE", "get")):
        seen = set()
        for target in await asking.targets(route, PLACES["team"]):
            request = asking.client.build_request("GET", target.path(route), headers=asking.shown)
            request.method = method  # as it is, unlike build_request, which makes capitals of it
            answer = await asking.client.send(request)
            assert answer.status_code == 405
            seen.add(without_names(answer, target))
        assert len(seen) == 1, (method, route, seen)


@pytest.mark.parametrize("caller", ["anonymous", "reader", "narrow token", "wrong password"])
async def test_options_reveals_nothing_of_what_exists(
    guarded: Guarded, files: Files, caller: str
) -> None:
    """The response is the same for every repository, to callers that `/v2/` admits."""
    asking = await situation(guarded, files, caller, "normal")
    admitted = (await asking.client.get("/v2/", headers=asking.shown)).status_code
    for route in {path for path, _ in NEEDS}:
        seen = set()
        for target in await asking.targets(route, PLACES["team"]):
            answer = await asking.client.options(target.path(route), headers=asking.shown)
            assert answer.status_code == admitted
            seen.add(without_names(answer, target))
        assert len(seen) == 1, (route, seen)


def form_of(caller: str, shown: Mapping[str, str]) -> dict[str, str]:
    """Return the form in which a caller requests a token."""
    scheme, _, text = shown.get("Authorization", "").partition(" ")
    if scheme == "Bearer":
        return {"grant_type": "refresh_token", "refresh_token": text}
    name, _, password = base64.b64decode(text).decode().partition(":")
    return {"grant_type": "password", "username": name, "password": password}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("caller", CALLERS)
async def test_token_routes(guarded: Guarded, files: Files, caller: str, mode: str) -> None:
    """Users get tokens, anonymous clients only by GET; a token is not accepted as a password."""
    client = await guarded(MODES[mode])
    shown = (await to_thread(credentials, files))[caller]
    for (path, method), looks_at in TOKEN_ROUTES.items():
        ask = partial(client.request, method, path)
        if looks_at is Shows.FORM:
            answer = await ask(data={**form_of(caller, shown), "service": "registry"})
        else:
            answer = await ask(headers=shown, params={"service": "registry"})
        welcome = caller in USERS or (caller == "anonymous" and looks_at is Shows.HEADER)
        if looks_at is Shows.NOTHING or welcome:
            assert answer.status_code == 200, (method, path, answer.text)
        else:
            assert is_refusal(answer, 401), (method, path, answer.status_code)


def at_robots(route: str) -> list[Target]:
    """Return the robots that a route can name: an existing and a missing one.

    Refusals do not contain their names, so none has to be removed.
    """
    if route != ROBOT:
        return [Target("<name>", True, route.rpartition("/")[2])]
    return [Target("<name>", True, "ci"), Target("<name>", False, "no")]


async def manage(
    client: httpx.AsyncClient, row: Row, target: Target, shown: Mapping[str, str]
) -> httpx.Response:
    """Send a request that succeeds if `target` exists and the caller is allowed."""
    body = {"name": f"new-{uuid4().hex}"} if row == (ROBOTS, "POST") else None
    return await client.request(row[1], target.path(row[0]), json=body, headers=shown)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("caller", CALLERS)
async def test_only_administrators_manage(
    guarded: Guarded, files: Files, caller: str, mode: str
) -> None:
    """All others get the same refusal, whatever exists."""
    client = await guarded(MODES[mode])
    shown = (await to_thread(credentials, files))[caller]
    await to_thread(RobotStore(files.robots).create, "ci")
    for row, needs in sorted(API_ROUTES.items(), key=lambda each: each[0][1] == "DELETE"):
        answers = [(each, await manage(client, row, each, shown)) for each in at_robots(row[0])]
        knows = Needs.BASE in CALLERS[caller].team
        if caller in MANAGERS or (needs is Manages.NOTHING and knows):
            let_through(row, answers, off=mode == "read-only" and row[1] in WRITES)
        else:
            refused_alike(row, answers, CALLERS[caller].refusal)
    made = {robot.name for robot in await to_thread(RobotStore(files.robots).list)}
    changed = caller in MANAGERS and mode != "read-only"
    assert ("ci" in made, len(made)) == (not changed, 1)


WORDS = {Needs.PULL: "pull", Needs.PUSH: "push", Needs.DELETE: "delete"}


@pytest.mark.parametrize("caller", [*sorted(USERS), "anonymous"])
async def test_a_token_grants_the_same_for_missing_repositories(
    guarded: Guarded, files: Files, caller: str
) -> None:
    """The grants follow the caller's row, for existing and missing repositories."""
    client = await guarded(DELETABLE)
    await populate(client)
    shown = (await to_thread(credentials, files))[caller]
    for place, names in PLACES.items():
        for name in names:
            scope = {"scope": f"repository:{name}:pull,push,delete"}
            answer = await client.get(TOKENS, params=scope, headers=shown)
            granted = actions_of(answer.json()["token"], name) - {"overwrite"}
            may = CALLERS[caller].may(place)
            assert granted == {word for needs, word in WORDS.items() if needs in may}


def actions_of(token: str, name: str) -> set[str]:
    """Return the actions that a token grants on a repository."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {
        action for each in claims["access"] if each["name"] == name for action in each["actions"]
    }
