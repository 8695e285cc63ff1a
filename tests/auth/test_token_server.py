"""The token server grants the requested actions that the rules allow, and reveals no secrets."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route

from registry_server.access.interfaces import ANONYMOUS, Action, Actor, Grants, Policy
from registry_server.access.login import Login
from registry_server.access.tokens.bearer import Claims, TokenIssuer, TokenVerifier
from registry_server.access.tokens.keyring import Keyring, parse_jwks
from registry_server.access.tokens.refresh import RefreshTokens
from registry_server.access.tokens.scopes import Scope, parse_scopes
from registry_server.access.tokens.signing_keys import SigningKey
from registry_server.access.tokens.token_server import TokenServer, grants_for
from registry_server.http import errors
from registry_server.http.context import Decision
from storage.values.names import RepositoryName
from tests.v2.asgi import Answer, Request, ask

ISSUER, SERVICE = "auth.example.com", "registry.example.com"
KEY = SigningKey.parse(
    ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
)
PULL, PUSH, OVERWRITE, DELETE = Action.PULL, Action.PUSH, Action.OVERWRITE, Action.DELETE
SECRET = "correct horse"


@dataclass(frozen=True)
class Table:
    """Rules as a table of actor and repository."""

    allowed: Mapping[str, Mapping[str, frozenset[Action]]]
    catalog: frozenset[str] = frozenset()
    administrators: frozenset[str] = frozenset()

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        """Look it up; members of a group may do what the group may."""
        names = {actor.name, *actor.groups}
        return Decision(
            any(action in self.allowed.get(each, {}).get(name.text, ()) for each in names), "table"
        )

    def decide_catalog(self, actor: Actor) -> Decision:
        """Look it up."""
        return Decision(actor.name in self.catalog, "table")

    def decide_administration(self, actor: Actor) -> Decision:
        """Look it up."""
        return Decision(actor.name in self.administrators, "table")


@dataclass
class Users:
    """Passwords in plain text."""

    passwords: dict[str, str]
    groups: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    async def verify(self, name: str, password: str) -> Actor | None:
        """Compare."""
        self.asked.append(name)
        return Actor(name, self.groups) if self.passwords.get(name) == password else None

    async def generation(self, name: str) -> str | None:
        """Return a value that changes with the password."""
        password = self.passwords.get(name)
        return None if password is None else f"{len(password)}{password[:1]}"


RULES = Table(
    {
        "": {"public": frozenset({PULL})},
        "ann": {
            "team/app": frozenset({PULL, PUSH, OVERWRITE}),
            "team/new": frozenset({PULL, PUSH}),
            "team/old": frozenset({DELETE, OVERWRITE}),
        },
        "crew": {"crew/app": frozenset({PULL})},
    },
    catalog=frozenset({"ann"}),
)


class Served:
    """A token server behind routes, as in an application."""

    def __init__(self, policy: Policy = RULES) -> None:
        self.users = Users({"ann": SECRET})
        self.robots = Users({"robot$ci": "beep"}, frozenset({"crew"}))
        self.policy = policy
        server = TokenServer(
            TokenIssuer(KEY, ISSUER),
            RefreshTokens(KEY, ISSUER, SERVICE, self.users.generation),
            Login([self.users, self.robots]),
            self._rules,
            SERVICE,
        )
        self._app = Starlette(
            routes=[
                Route("/token", server.get, methods=["GET"]),
                Route("/token", server.post, methods=["POST"]),
                Route("/jwks", server.jwks),
            ]
        )
        errors.install(self._app)

    async def _rules(self) -> Policy:
        return self.policy

    async def get(self, *scopes: str, basic: str | None = None, **query: str) -> Answer:
        """Request a token by GET, with `name:password` or without credentials."""
        fields = [("service", SERVICE), *(("scope", scope) for scope in scopes), *query.items()]
        return await self.raw(urlencode(fields).encode(), _basic(basic))

    async def raw(self, query: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
        """Send a GET with any query."""
        return await ask(self._app, Request("GET", "/token", query, headers))

    async def post(self, **form: str) -> Answer:
        """Request a token by POST."""
        return await self.send(urlencode({"service": SERVICE, **form}).encode())

    async def send(self, body: bytes, kind: bytes = b"application/x-www-form-urlencoded") -> Answer:
        """Send any body."""
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        return await ask(self._app, Request("POST", "/token", b"", headers, body))

    async def jwks(self) -> Answer:
        """Request the public keys."""
        return await ask(self._app, Request("GET", "/jwks"))


def _basic(shown: str | None) -> list[tuple[bytes, bytes]]:
    if shown is None:
        return []
    return [(b"authorization", b"Basic " + base64.b64encode(shown.encode()))]


def document(answer: Answer) -> dict[str, Any]:
    """Return the document of a successful response."""
    assert answer.status == 200, answer.body
    assert answer.headers[b"cache-control"] == b"no-store"
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    return found


def claims(answer: Answer) -> Claims:
    """Return the claims of the token in a successful response, as a registry verifies it."""
    text = document(answer)["access_token"]
    return TokenVerifier(Keyring.of([KEY.public]), ISSUER, SERVICE).verify(text)


def granted(answer: Answer) -> Mapping[str, frozenset[Action]]:
    """Return the grants of the token in a successful response."""
    return claims(answer).grants.repositories


def refusal(answer: Answer, status: int, code: str) -> str:
    """Return the message of a refusal, which is an envelope and must not be cached."""
    assert answer.status == status
    assert answer.headers[b"cache-control"] == b"no-store"
    (error,) = json.loads(answer.body)["errors"]
    assert error["code"] == code
    return str(error["message"])


async def test_a_user_gets_the_requested_actions_that_are_allowed() -> None:
    """The response has all members of the specification, and the token has subject and grants."""
    answer = await Served().get("repository:team/app:pull,push", basic=f"ann:{SECRET}")
    found = document(answer)
    assert found["token"] == found["access_token"]
    assert found["expires_in"] == 300
    assert found["issued_at"].endswith("Z")
    assert "refresh_token" not in found
    assert claims(answer).sub == "ann"
    assert granted(answer) == {"team/app": {PULL, PUSH, OVERWRITE}}


async def test_anonymous_clients_get_tokens_for_public_repositories() -> None:
    """Docker pulls public images that way; actions that need a user are left out."""
    answer = await Served().get("repository:public:pull,push", "repository:team/app:pull")
    assert claims(answer).sub == ""
    assert granted(answer) == {"public": {PULL}}
    assert not claims(await Served().get("registry:catalog:*")).grants.catalog


async def test_a_login_without_scopes_gets_a_token_without_grants() -> None:
    """`docker login` only checks the password."""
    answer = await Served().get(basic=f"ann:{SECRET}", account="ann", client_id="docker")
    assert (claims(answer).sub, claims(answer).grants) == ("ann", Grants({}))


async def test_scopes_add_up() -> None:
    """Several repositories, the same one twice, and the catalog, in one request."""
    answer = await Served().get(
        "repository:team/new:pull repository:team/app:pull", "repository:team/new:push",
        "registry:catalog:*", "bogus", "repository:NOT A NAME:pull", basic=f"ann:{SECRET}",
    )  # fmt: skip
    assert granted(answer) == {"team/new": {PULL, PUSH}, "team/app": {PULL}}
    assert claims(answer).grants.catalog


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("team/app:push", {PUSH, OVERWRITE}),
        ("team/new:push", {PUSH}),
        ("team/app:pull", {PULL}),
        ("team/app:overwrite", {OVERWRITE}),
        ("team/old:push", set()),
        ("team/old:delete", {DELETE}),
        ("team/app:*", {PULL, PUSH, OVERWRITE}),
        ("team/old:*", {DELETE, OVERWRITE}),
        ("team/app:delete", set()),
        ("public:pull", set()),
        ("team/app/../old:delete", set()),
    ],
)
async def test_each_action_is_granted_separately(scope: str, expected: set[Action]) -> None:
    """A granted push includes moving tags if that is allowed."""
    answer = await Served().get(f"repository:{scope}", basic=f"ann:{SECRET}")
    assert granted(answer) == ({scope.partition(":")[0]: expected} if expected else {})


async def test_the_rules_in_force_decide() -> None:
    """Each request uses the current rules, which may change."""
    served = Served()
    served.policy = Table({})
    assert granted(await served.get("repository:public:pull")) == {}


async def test_each_kind_of_credentials_is_tried() -> None:
    """A robot is found in the second list, and its groups count."""
    answer = await Served().get("repository:crew/app:pull", basic="robot$ci:beep")
    assert claims(answer).sub == "robot$ci"
    assert granted(answer) == {"crew/app": {PULL}}


@pytest.mark.parametrize(
    "header",
    [
        b"Basic " + base64.b64encode(b"ann:wrong"),
        b"Basic " + base64.b64encode(b"nobody:" + SECRET.encode()),
        b"Basic " + base64.b64encode(b":"),
        b"Basic " + base64.b64encode(b"ann"),
        b"Basic " + base64.b64encode(b"\xff\xfe:x"),
        b"Basic !!!",
        b"Basic " + b"A" * 20000,
        b"Basic",
        b"",
        b"\xe9",
        b"Bearer abc",
    ],
)
async def test_invalid_credentials_are_refused(header: bytes) -> None:
    """Also for anonymous requests; the challenge asks for a name and a password."""
    query = urlencode({"service": SERVICE, "scope": "repository:public:pull"}).encode()
    answer = await Served().raw(query, [(b"authorization", header)])
    refusal(answer, 401, "UNAUTHORIZED")
    assert answer.headers[b"www-authenticate"].startswith(b'Basic realm="registry.example.com"')


async def test_another_service_is_refused_before_the_password_is_checked() -> None:
    """Tokens are for this service, which is the default."""
    served = Served()
    answer = await served.raw(b"service=other", _basic(f"ann:{SECRET}"))
    refusal(answer, 400, "UNSUPPORTED")
    assert served.users.asked == []
    both = urlencode([("service", SERVICE), ("service", "other")]).encode()
    refusal(await served.raw(both), 400, "UNSUPPORTED")
    assert granted(await served.raw(b"scope=repository:public:pull")) == {"public": {PULL}}


async def test_too_large_requests_are_refused() -> None:
    """Scopes, fields, queries, forms and the token are limited; a refusal names the limit."""
    served = Served(_Everything())
    many = ["repository:a:pull"] * 501
    assert "at most 500 scopes" in refusal(await served.get(*many), 400, "UNSUPPORTED")
    assert "600 fields" in refusal(await served.raw(b"a=1&" * 700), 400, "UNSUPPORTED")
    for sent in (served.raw, served.send):
        assert "65536" in refusal(await sent(b"a=" + b"1" * 70000), 413, "SIZE_INVALID")
    assert "600 fields" in refusal(await served.send(b"a=1&" * 700), 400, "UNSUPPORTED")
    long = [f"repository:{at:0155}:*" for at in range(280)]
    assert "49152" not in refusal(await served.get(*long), 400, "UNSUPPORTED")
    assert "the limit is 61440" in refusal(await served.get(*long), 400, "UNSUPPORTED")
    longer = [f"repository:{at:0155}:*" for at in range(300)]
    assert "at most 49152 characters" in refusal(await served.get(*longer), 400, "UNSUPPORTED")


class _Everything:
    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        return Decision(True, "everything")

    def decide_catalog(self, actor: Actor) -> Decision:
        return Decision(True, "everything")

    def decide_administration(self, actor: Actor) -> Decision:
        return Decision(True, "everything")


async def test_the_oauth2_form_gives_the_same_for_a_password() -> None:
    """The response has the granted scopes."""
    answer = await Served().post(
        grant_type="password", username="ann", password=SECRET, client_id="docker",
        scope="repository:team/new:pull,push repository:team/old:pull registry:catalog:*",
    )  # fmt: skip
    found = document(answer)
    assert found["scope"] == "repository:team/new:pull,push registry:catalog:*"
    assert "token" not in found
    assert "refresh_token" not in found
    assert granted(answer) == {"team/new": {PULL, PUSH}}


@pytest.mark.parametrize(
    "form",
    [
        {"grant_type": "password", "username": "ann", "password": "wrong"},
        {"grant_type": "password", "username": "", "password": ""},
        {"grant_type": "password"},
        {"grant_type": "refresh_token", "refresh_token": "a.b.c"},
        {"grant_type": "refresh_token", "refresh_token": ""},
        {"grant_type": "refresh_token"},
    ],
)
async def test_a_form_with_invalid_credentials_is_refused(form: dict[str, str]) -> None:
    """A form without credentials is refused as well: it is a login."""
    refusal(await Served().post(**form), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["", "ann\0", "ann\n", "\x85ann"])
async def test_names_that_no_header_can_have_are_refused(name: str) -> None:
    """A form can contain them; they reach no store of passwords."""
    served = Served()
    answer = await served.post(grant_type="password", username=name, password=SECRET)
    refusal(answer, 401, "UNAUTHORIZED")
    assert served.users.asked == []


@pytest.mark.parametrize("kind", ["", "client_credentials", "PASSWORD"])
async def test_another_grant_type_is_refused(kind: str) -> None:
    """Two are known."""
    answer = await Served().post(grant_type=kind, username="ann", password=SECRET)
    refusal(answer, 400, "UNSUPPORTED")


@pytest.mark.parametrize("kind", [b"application/json", b"multipart/form-data; boundary=x", b""])
async def test_a_body_of_another_type_is_refused(kind: bytes) -> None:
    """Only one media type is accepted; a charset parameter is ignored."""
    body = urlencode({"grant_type": "password", "username": "ann", "password": SECRET}).encode()
    refusal(await Served().send(body, kind), 400, "UNSUPPORTED")
    answer = await Served().send(body, b"application/x-www-form-urlencoded; charset=UTF-8")
    assert claims(answer).sub == "ann"


async def test_a_refresh_token_replaces_the_password() -> None:
    """Both forms issue refresh tokens, and the second accepts them."""
    served = Served()
    by_get = await served.get(basic=f"ann:{SECRET}", offline_token="true")
    by_post = await served.post(
        grant_type="password", username="ann", password=SECRET, access_type="offline"
    )
    for answer in (by_get, by_post):
        kept = document(answer)["refresh_token"]
        again = await served.post(
            grant_type="refresh_token", refresh_token=kept, access_type="offline",
            scope="repository:crew/app:pull repository:team/app:pull",
        )  # fmt: skip
        assert claims(again).sub == "ann"
        assert granted(again) == {"team/app": {PULL}}
        assert "refresh_token" not in document(again)


async def test_anonymous_clients_and_robots_get_no_refresh_token() -> None:
    """Nor do users from other sources."""
    served = Served()
    assert "refresh_token" not in document(await served.get(offline_token="true"))
    answer = await served.get(basic="robot$ci:beep", offline_token="true")
    assert "refresh_token" not in document(answer)


async def test_a_refresh_token_ends_with_the_password_and_with_the_user() -> None:
    """An access token is not accepted in its place."""
    served = Served()
    found = document(await served.get(basic=f"ann:{SECRET}", offline_token="true"))
    form = {"grant_type": "refresh_token", "refresh_token": found["refresh_token"]}
    access = form | {"refresh_token": found["access_token"]}
    refusal(await served.post(**access), 401, "UNAUTHORIZED")
    document(await served.post(**form))
    served.users.passwords["ann"] = "another"
    refusal(await served.post(**form), 401, "UNAUTHORIZED")
    del served.users.passwords["ann"]
    refusal(await served.post(**form), 401, "UNAUTHORIZED")


async def test_the_public_keys_verify_the_tokens() -> None:
    """Another registry can verify tokens with the published key, which has no secret part."""
    served = Served()
    answer = await served.jwks()
    assert b'"d"' not in answer.body
    text = document(await served.get())["token"]
    verifier = TokenVerifier(Keyring.of(parse_jwks(answer.body)), ISSUER, SERVICE)
    assert verifier.verify(text).sub == ""


async def test_no_secret_is_logged_or_echoed(caplog: pytest.LogCaptureFixture) -> None:
    """Neither refusals nor logins leave a usable secret in the log or the response."""
    caplog.set_level(logging.DEBUG)
    served = Served()
    wrong = "hunter2hunter2"
    answers = [
        await served.get(basic=f"ann:{wrong}"),
        await served.post(grant_type="password", username="ann", password=wrong),
        await served.post(grant_type=wrong),
        await served.post(grant_type="refresh_token", refresh_token=wrong),
        await served.send(b"service=" + wrong.encode()),
        await served.get(f"repository:{wrong}:{wrong}"),
    ]
    good = document(await served.get(basic=f"ann:{SECRET}", offline_token="true"))
    assert not any(wrong.encode() in answer.body for answer in answers)
    for secret in (wrong, SECRET, good["token"], good["refresh_token"]):
        assert secret not in caplog.text


_REPOSITORIES = ["a", "b/c", "a/b"]
_ACTIONS = st.frozensets(st.sampled_from(Action))
_TABLES = st.builds(
    Table,
    st.dictionaries(
        st.sampled_from(["", "ann", "crew"]),
        st.dictionaries(st.sampled_from(_REPOSITORIES), _ACTIONS),
    ),
    st.frozensets(st.sampled_from(["", "ann"])),
)
_SCOPES = st.lists(
    st.builds(
        Scope,
        st.sampled_from(["repository", "registry", "other"]),
        st.sampled_from([*_REPOSITORIES, "catalog", "x", "a/", "A"]),
        st.frozensets(st.sampled_from([*(each.value for each in Action), "*", "fly"])),
        st.sampled_from(["", "plugin"]),
    ),
    max_size=6,
)
_ACTORS = st.sampled_from([ANONYMOUS, Actor("ann"), Actor("bob", frozenset({"crew"}))])


@given(_TABLES, _SCOPES, _ACTORS)
def test_a_token_grants_exactly_the_requested_and_allowed_actions(
    table: Table, scopes: list[Scope], actor: Actor
) -> None:
    """Each granted action is allowed and requested; each that is both is granted."""
    grants = grants_for(actor, parse_scopes(map(str, scopes)), table)
    for name in _REPOSITORIES:
        repository = RepositoryName(name)
        asked = {
            action for scope in scopes if (scope.type, scope.name) == ("repository", name)
            for action in scope.known_actions()
        }  # fmt: skip
        may = {each for each in Action if table.decide(actor, each, repository).allowed}
        if PUSH in asked & may:
            asked.add(OVERWRITE)
        assert {each for each in Action if grants.allow(each, repository)} == asked & may
    assert set(grants.repositories) <= set(_REPOSITORIES)
    assert grants.catalog <= table.decide_catalog(actor).allowed
    assert grants.catalog <= any("*" in scope.actions for scope in scopes)


@given(st.binary(max_size=60) | st.from_regex(rb"(scope|service|grant_type|a)=[%&=a-z:+]{0,20}"))
def test_any_bytes_get_a_response(content: bytes) -> None:
    """No query and no form raises anything."""

    async def both() -> tuple[int, int]:
        served = Served()
        return (await served.raw(content)).status, (await served.send(content)).status

    by_get, by_post = asyncio.run(both())
    assert by_get in (200, 400)
    assert by_post in (400, 401)
