"""No password, token or scope grants more than the rules.

Generated requests are sent to a whole registry: valid ones with changes, and invalid ones. Each
gets a response, a refusal has the envelope, and only exactly right credentials grant anything.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from registry_server.access.interfaces import Action, Grants
from registry_server.access.tokens.bearer import TokenIssuer, registered_claims
from registry_server.access.tokens.refresh import TYPE
from registry_server.access.tokens.signing_keys import jwks, load_signing_key
from registry_server.wiring.app import build
from storage.drivers.memory import MemoryDriver
from tests.access.conftest import PASSWORDS, Files
from tests.support.wire import OCI_MANIFEST, sha256
from tests.v2.asgi import Answer, Request, ask
from tests.v2.pushes import CONFIG, LAYER, MANIFEST

ISSUER, SERVICE = "registry-server", "registry"
PLACES: Final = ("team/app", "public/app", "home/reader/x", "home/other/x", "else")
TOKENS: Final = "/auth/token"
OTHERS: Final = ("/v2/", "/v2/_catalog", TOKENS)
PATHS: Final = [
    *((name, f"/v2/{name}/manifests/v1") for name in PLACES),
    *((path, path) for path in OTHERS),
]
EXAMPLES: Final = 150

Fields: TypeAlias = Sequence[bytes]


class Registry:
    """A registry with content in every repository, and its own event loop."""

    def __init__(self, runner: asyncio.Runner, files: Files) -> None:
        self._run = runner.run
        self._app = build(files.settings({}), MemoryDriver())
        self.key = load_signing_key(files.key)
        admin = [(b"authorization", b"Basic " + encoded(f"admin:{PASSWORDS['admin']}"))]
        for name in PLACES:
            for blob in (LAYER, CONFIG):
                query = f"digest={sha256(blob)}".encode()
                path = f"/v2/{name}/blobs/uploads/"
                assert self.ask("POST", path, admin, query, blob).status == 201
            headers = [*admin, (b"content-type", OCI_MANIFEST.encode())]
            path = f"/v2/{name}/manifests/v1"
            assert self.ask("PUT", path, headers, body=MANIFEST).status == 201

    def ask(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
        query: bytes = b"",
        body: bytes = b"",
    ) -> Answer:
        """Send a request; check what applies to every response."""
        answer = self._run(ask(self._app, Request(method, path, query, headers, body)))
        assert answer.status < 500
        if answer.status >= 400:
            assert answer.headers[b"content-type"] == b"application/json"
            errors = json.loads(answer.body)["errors"]
            assert errors
            assert all(set(each) <= {"code", "message", "detail"} for each in errors)
        return answer

    def opens(self, *fields: bytes) -> set[str]:
        """Return what these headers admit to: repositories, `/v2/`, the catalog, tokens."""
        headers = [(b"authorization", value) for value in fields]
        return {what for what, path in PATHS if self.ask("GET", path, headers).status < 400}


@pytest.fixture
def registry(files: Files) -> Iterator[Registry]:
    """Serve users and rules."""
    with asyncio.Runner() as runner:
        yield Registry(runner, files)


def examples(most: int = EXAMPLES) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run this many examples; all of them use the same registry."""
    same = HealthCheck.function_scoped_fixture
    return settings(max_examples=most, suppress_health_check=[same, HealthCheck.too_slow])


def may(name: str, place: str) -> frozenset[str]:
    """Return what the rules grant a caller, written by hand."""
    first, _, rest = place.partition("/")
    every = frozenset(each.value for each in Action)
    if name == "admin":
        return every
    if first == "public" and rest:
        return frozenset({"pull"})
    if first == "home" and name and rest.startswith(f"{name}/"):
        return every
    if first == "team" and rest:
        return frozenset({"reader": ["pull"], "writer": ["pull", "push"]}.get(name, []))
    return frozenset()


def readable(name: str) -> set[str]:
    """Return the repositories that a caller may pull from."""
    return {place for place in PLACES if "pull" in may(name, place)}


def encoded(text: str | bytes) -> bytes:
    """Return base64 without padding."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def part(content: object) -> str:
    """Return a part of a token."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


# A change to some bytes.
Change: TypeAlias = Callable[[bytes], bytes]
JUNK = st.binary(max_size=12) | st.sampled_from(
    [b" ", b"\t", b"\r\n", b"\0", b"=", b"==", b":", b",", b".", b"..", b"%00", b"\xa0", b"\x85",
     b"\xc3\xa9", b"\xff", b"+", b"&", b"[" * 5000, b"A" * 9000, b'"', b"{}", b"\xe2\x80\x8b"]
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Draw a change: a bit or a piece is changed, removed, duplicated or added."""
    at, length = draw(st.integers(0, 400)), draw(st.sampled_from([0, 0, 1, 4, 40]))
    junk, bit = draw(JUNK), draw(st.integers(0, 7))

    def flip(raw: bytes) -> bytes:
        place = at % max(1, len(raw))
        return (
            raw[:place]
            + bytes(each ^ 1 << bit for each in raw[place : place + 1])
            + raw[place + 1 :]
        )

    def replace(raw: bytes) -> bytes:
        place = at % (len(raw) + 1)
        return raw[:place] + junk + raw[place + length :]

    kinds: list[Change] = [
        flip,
        flip,
        replace,
        replace,
        lambda raw: raw + junk,
        lambda raw: junk + raw,
        lambda raw: raw[: at % (len(raw) + 1)],
        lambda raw: raw[at % (len(raw) + 1) :],
        bytes.swapcase,
        lambda raw: raw.replace(b" ", junk),
        lambda raw: raw + raw,
        lambda raw: b", ".join([raw, raw]),
    ]
    return draw(st.sampled_from(kinds))


def changed(rights: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Draw a valid value, mostly with one or more changes."""

    def apply(raw: bytes, drawn: list[Change]) -> bytes:
        for change in drawn:
            raw = change(raw)
        return raw

    return st.builds(apply, rights, st.lists(changes(), max_size=3))


SHOWN = {encoded(f"{name}:{password}"): name for name, password in PASSWORDS.items()}
SCHEMES = [
    b"Basic ",
    b"basic ",
    b"BASIC  ",
    b"Basic",
    b"Basic\t",
    b"Bearer ",
    b"Digest ",
    b"",
    b"basic:",
]


def right_passwords() -> st.SearchStrategy[bytes]:
    """Draw headers of users, and similar ones."""
    pairs = st.sampled_from([f"{name}:{password}".encode() for name, password in PASSWORDS.items()])
    writings: list[Change] = [
        encoded,
        encoded,
        encoded,
        lambda raw: base64.urlsafe_b64encode(raw),
        lambda raw: encoded(raw).rstrip(b"="),
        lambda raw: base64.encodebytes(raw),
        lambda raw: base64.b32encode(raw),
        lambda raw: raw,
        lambda raw: encoded(encoded(raw)),
        lambda raw: encoded(raw.decode("latin-1").encode("utf-16")),
        lambda raw: encoded(raw.upper()),
    ]
    write = st.sampled_from(writings)
    near = changed(pairs)
    return st.builds(
        lambda scheme, how, raw: scheme + how(raw),
        st.sampled_from(SCHEMES[:3] * 4 + SCHEMES),
        write,
        pairs | near,
    )


def whose_password(fields: Fields) -> str | None:
    """Return the user whose password a request has, exactly by RFC 7617; None without one."""
    found = (
        re.fullmatch(rb"(?i:basic) +([A-Za-z0-9+/]+=*) *", fields[0]) if len(fields) == 1 else None
    )
    return None if found is None else SHOWN.get(found[1])


@examples()
@given(st.lists(changed(right_passwords()) | st.binary(max_size=60), min_size=1, max_size=2))
@example([b"Basic " + encoded(f"reader:{PASSWORDS['reader']}")])
@example([b"Basic " + encoded(f"reader:{PASSWORDS['reader']}")] * 2)
@example([b"Basic " + encoded(f"reader:{PASSWORDS['reader']}"), b""])
@example([b""])
def test_a_password_that_is_not_exactly_right_grants_nothing(
    registry: Registry, fields: list[bytes]
) -> None:
    """Neither public content nor an anonymous token; a right one grants what its user may."""
    name = whose_password(fields)
    opened = registry.opens(*fields)
    if name is None:
        assert opened == set()
    else:
        assert opened - {"/v2/_catalog"} == {*readable(name), "/v2/", TOKENS}


def good(registry: Registry, name: str = "reader") -> str:
    """Sign a token that grants `pull` wherever its subject may."""
    pull = frozenset({Action.PULL})
    grants = Grants(dict.fromkeys(PLACES, pull), catalog=True)
    return TokenIssuer(registry.key, ISSUER).sign(name, grants, SERVICE).text


def kept(registry: Registry, name: str = "reader") -> str:
    """Sign a refresh token of a user whose password has changed."""
    claims = registered_claims(ISSUER, name, f"{SERVICE}#{TYPE}", int(time.time()), 3600)
    return registry.key.sign({**claims, "gen": "0" * 32}, TYPE)


@examples()
@given(data=st.data())
def test_a_changed_token_grants_nothing(registry: Registry, data: st.DataObject) -> None:
    """In any of its parts, or by additional ones; nor is a refresh token accepted."""
    token = good(registry)
    head, payload, signature = token.split(".")
    others = [
        token, token, kept(registry),
        f"{head}.{payload}", f"{head}.{payload}.", f"{head}..{signature}",
        f"{token}.{signature}", f".{token}", f"{payload}.{head}.{signature}",
        f"{head}.{good(registry, 'admin').split('.')[1]}.{signature}",
    ]  # fmt: skip
    text = data.draw(changed(st.sampled_from([each.encode() for each in others])))
    scheme = data.draw(st.sampled_from([b"Bearer ", b"bearer  ", b"Bearer", b"Basic ", b"Token "]))
    field = scheme + text
    is_right = re.fullmatch(rb"(?i:bearer) +" + token.encode() + b" *", field) is not None
    opened = registry.opens(field)
    assert opened == ({*readable("reader"), "/v2/", "/v2/_catalog"} if is_right else set())


@pytest.mark.parametrize(
    "field",
    ["Bearer {}==", "Bearer {}=", "Bearer \xa0{}", "Bearer {}\x85", "Bearer\t{}", "Bearer {},",
     "Bearer {} {}", "Bearer {}.", "Basic {}", "{}", "Bearer,{}"],
)  # fmt: skip
def test_a_token_has_one_encoding(registry: Registry, field: str) -> None:
    """Padding, other spaces and additional text invalidate it."""
    token = good(registry)
    assert "/v2/" in registry.opens(f"Bearer {token}".encode())
    assert registry.opens(field.format(token, token).encode("latin-1")) == set()


DEEP = b"[" * 3000 + b"]" * 3000
VALUES = st.sampled_from(
    [None, True, False, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), -float("inf"), "",
     "none", "NONE", "HS256", "ES256", "es256", "EdDSA", "RS256", "ES384",
     "JWT", "jwt", "JWT ", "refresh",
     [], ["ES256"], {}, {"a": 1}, "\ud800", "x" * 2000, "../../etc/passwd", "' OR 1=1 --"]
) | st.text(max_size=20)  # fmt: skip
HEADER_NAMES = [
    "alg",
    "typ",
    "kid",
    "crit",
    "b64",
    "zip",
    "jwk",
    "jku",
    "x5c",
    "x5u",
    "x5t",
    "cty",
    "enc",
    "epk",
]
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


def header_of(registry: Registry, changed: Mapping[str, object]) -> dict[str, object]:
    """Return the header of the registry's tokens with changes."""
    return {"alg": "ES256", "typ": "JWT", "kid": registry.key.id, **changed}


def forgeries(registry: Registry, header: Mapping[str, object]) -> Iterator[str]:
    """Yield tokens of an administrator without a valid signature, one for each kind of forgery."""
    claims = jwt.decode(good(registry, "admin"), options={"verify_signature": False})
    signing = f"{part(dict(header))}.{part(claims)}"
    public = registry.key.public.key
    secrets = [
        b"",
        b"secret",
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwks([registry.key.public])).encode(),
        json.dumps(jwks([registry.key.public])["keys"][0]).encode(),
    ]
    for secret in secrets:
        yield f"{signing}.{part(hmac.digest(secret, signing.encode(), 'sha256'))}"
    yield f"{signing}."
    yield f"{signing}.{good(registry, 'admin').rpartition('.')[2]}x"
    yield f"{signing}.{part(bytes(64))}"
    yield f"{signing}.{part(b'')}{part(_signed(signing))}"


def _signed(signing: str) -> bytes:
    return jwt.get_algorithm_by_name("ES256").sign(signing.encode(), OTHER_KEY)


@examples(25)
@given(st.dictionaries(st.sampled_from(HEADER_NAMES), VALUES, max_size=3), st.booleans())
@example({"alg": "none"}, False)
@example({"alg": "None"}, True)
@example({"alg": "HS256"}, True)
@example({"b64": False, "crit": ["b64"]}, False)
@example({"zip": "DEF"}, False)
def test_no_header_makes_a_forged_token_valid(
    registry: Registry, changed: dict[str, object], brings_key: bool
) -> None:
    """No algorithm, no shared secret made of the public key, no other key, no extension."""
    jwk = {"jwk": jwks([registry.key.public])["keys"][0]} if brings_key else {}
    for text in forgeries(registry, header_of(registry, {**jwk, **changed})):
        assert registry.opens(b"Bearer " + text.encode()) == set()


def by_our_key(registry: Registry, header: bytes, payload: bytes) -> bytes:
    """Sign bytes with the registry's key, so that their content is parsed."""
    signing = f"{part(header)}.{part(payload)}"
    algorithm = jwt.get_algorithm_by_name(registry.key.algorithm)
    signature = algorithm.sign(signing.encode(), registry.key.private)
    return f"Bearer {signing}.{part(signature)}".encode()


@examples()
@given(
    st.dictionaries(st.sampled_from(HEADER_NAMES), VALUES, min_size=1, max_size=3), st.booleans()
)
@example({"crit": []}, False)
@example({"crit": ["exp"]}, False)
@example({"b64": True}, False)
def test_a_signed_token_needs_the_registrys_header(
    registry: Registry, changed: dict[str, object], twice: bool
) -> None:
    """Otherwise a valid signature does not help; additional ids or keys do not either."""
    header = json.dumps(header_of(registry, changed)).encode()
    if twice:
        # Of duplicate names the last one counts.
        header = b'{"alg": "none", "typ": "x", ' + header[1:]
    claims = jwt.decode(good(registry), options={"verify_signature": False})
    opened = registry.opens(by_our_key(registry, header, json.dumps(claims).encode()))
    assert opened <= {*readable("reader"), "/v2/", "/v2/_catalog"}
    if "crit" in changed or "b64" in changed or changed.get("alg", "ES256") != "ES256":
        assert opened == set()


NO_MOMENT: st.SearchStrategy[Any] = st.sampled_from(
    ["soon", "1900000000", "", None, True, [], {}, [1900000000], float("nan"), float("inf"),
     -float("inf"), -1, -1e9, 2**53 + 2, 2**64, 10**400, 1e300]
)  # fmt: skip
NO_TEXT: st.SearchStrategy[Any] = st.sampled_from(
    [1, True, None, [], {}, ["reader"], "a\nb", "\0", "\ud800", "rea\u200bder", 1.5]
)
# Values that are never valid, by claim.
BAD: Mapping[str, st.SearchStrategy[Any]] = {
    "iss": st.sampled_from([None, 1, [], [ISSUER], {}, "", ISSUER.title(), f"{ISSUER} "]),
    "aud": st.sampled_from(
        [None, 1, "", [], {}, {SERVICE: 1}, [[SERVICE]], f"{SERVICE}#{TYPE}", [f"{SERVICE}#{TYPE}"],
         "Registry", f"{SERVICE} ", f"{SERVICE},other"]
    ),
    "exp": NO_MOMENT | st.sampled_from([0, 1, 1.5e9]),
    "nbf": NO_MOMENT | st.sampled_from([2**52, 2e11]),
    "iat": NO_MOMENT,
    "jti": NO_TEXT,
    "sub": NO_TEXT | st.sampled_from(["nobody", "Reader", "reader ", "robot:ci", "robot$ci"]),
    "access": st.sampled_from(
        [1, True, {}, "team/app", ["team/app"], [[]], [None], [{}], [{"type": "repository"}],
         [{"type": 1, "name": "team/app", "actions": ["pull"]}],
         [{"type": "repository", "name": ["team/app"], "actions": ["pull"]}],
         [{"type": "repository", "name": "team/app", "actions": "pull"}],
         [{"type": "repository", "name": "team/app", "actions": [["pull"]]}]]
    ),
}  # fmt: skip


@examples(200)
@given(data=st.data(), claim=st.sampled_from(list(BAD)))
def test_an_invalid_claim_invalidates_a_token(
    registry: Registry, data: st.DataObject, claim: str
) -> None:
    """Also with a valid signature: numbers as text, invalid times, other types and texts."""
    claims = jwt.decode(good(registry), options={"verify_signature": False})
    claims[claim] = data.draw(BAD[claim])
    header = json.dumps(header_of(registry, {})).encode()
    assert registry.opens(by_our_key(registry, header, json.dumps(claims).encode())) == set()


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["repository", "registry", "", 1]),
        "name": st.sampled_from([*PLACES, "catalog", "**", "*", "team", ""]) | st.text(max_size=5),
        "actions": st.none() | st.lists(st.sampled_from(["pull", "push", "*", "delete", "", 1])),
    },
)
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "iss": st.just(ISSUER) | VALUES,
        "aud": st.just(SERVICE) | st.lists(st.just(SERVICE) | VALUES, max_size=3) | VALUES,
        "exp": st.integers(0, 2**40) | VALUES,
        "nbf": st.integers(0, 2**31) | VALUES,
        "iat": st.integers(0, 2**40) | VALUES,
        "jti": VALUES,
        "sub": st.sampled_from(["", "reader", "writer"]) | VALUES,
        "access": st.lists(ENTRIES, max_size=4) | VALUES,
    },
)


@examples(200)
@given(
    CLAIMS | VALUES,
    st.sampled_from([b"", b'{"sub": "admin", "sub": "other", ', b"\xef\xbb\xbf", b" "]),
)
@example({}, DEEP)
@example({}, b'{"sub":' * 1500)
def test_no_claims_grant_more_than_the_rules(
    registry: Registry, claims: object, before: bytes
) -> None:
    """Whatever is signed: a token can only restrict what its subject may."""
    payload = json.dumps(claims).encode()
    payload = before + (payload[1:] if before.startswith(b'{"sub": ') else payload)
    header = json.dumps(header_of(registry, {})).encode()
    opened = registry.opens(by_our_key(registry, header, payload))
    name = claims.get("sub", "") if isinstance(claims, dict) else ""
    allowed = readable(name) if isinstance(name, str) else set()
    assert opened <= {*allowed, "/v2/", "/v2/_catalog"}


WORDS = [
    "repository", "registry", "repository(plugin)", "team/app", "public/app", "home/reader/x",
    "home/{user}/x", "home/other/x", "**", "*", "catalog", "pull", "push", "delete", "overwrite",
    "pull,push", "pull,push,*", ":", ":", ":", ",", " ", "  ", "\n", "\0", "%2f", "..", "/", "//",
    "team/../home/other/x", "team//app", "TEAM/APP", "team/app ", "\N{KELVIN SIGN}", "\ud800", "é",
]  # fmt: skip
ACTIONS = ["pull", "push", "delete", "overwrite", "*", "catalog", ""]
SCOPES = st.one_of(
    st.builds(
        lambda kind, name, actions: f"{kind}:{name}:{','.join(actions)}",
        st.sampled_from(["repository", "repository(plugin)", "registry", "REPOSITORY", ""]),
        st.sampled_from([*PLACES, "catalog", "team/new", "home/reader/y/z", "home/writer/x", "**"]),
        st.lists(st.sampled_from(ACTIONS), max_size=4),
    ),
    st.lists(st.sampled_from(WORDS), max_size=9).map("".join),
    st.text(max_size=30),
    st.sampled_from(["repository:team/app:pull " * 63, "repository:team/app:pull " * 65,
                     "repository:" + "a/" * 3000 + "b:pull", "x" * 4097, ":" * 4000, "," * 4000]),
)  # fmt: skip
CALLERS = st.sampled_from(["", "reader", "writer", "other", "admin", "carol"])


def granted(answer: Answer) -> dict[str, set[str]]:
    """Return the grants of the token in a successful response, by repository name."""
    claims = jwt.decode(
        json.loads(answer.body)["access_token"], options={"verify_signature": False}
    )
    found: dict[str, set[str]] = {}
    for entry in claims["access"]:
        assert entry["type"] in ("repository", "registry")
        if entry["type"] == "repository":
            found.setdefault(entry["name"], set()).update(entry["actions"])
    return found


def fields_of(scopes: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return scopes as fields of a query; half a surrogate pair is encoded as in UTF-8."""
    return [("scope", scope.encode(errors="surrogatepass")) for scope in scopes]


@examples(200)
@given(st.lists(SCOPES, max_size=4), CALLERS)
def test_no_scope_is_granted_beyond_the_rules(
    registry: Registry, scopes: list[str], name: str
) -> None:
    """In a query and a form alike: the requested actions that are allowed, and no others."""
    fields = fields_of(scopes)
    shown = [(b"authorization", b"Basic " + encoded(f"{name}:{PASSWORDS[name]}"))] if name else []
    answers = [registry.ask("GET", TOKENS, shown, urlencode(fields).encode())]
    if name:
        login = [("grant_type", "password"), ("username", name), ("password", PASSWORDS[name])]
        form = [(b"content-type", b"application/x-www-form-urlencoded")]
        body = urlencode([*login, *fields]).encode()
        answers.append(registry.ask("POST", TOKENS, form, body=body))
    assert {each.status for each in answers} in ({200}, {400}, {413})
    for answer in answers:
        for place, actions in granted(answer).items() if answer.status == 200 else ():
            assert actions <= may(name, place)
            assert any(place in scope for scope in scopes)
            for action in actions - {"overwrite"}:
                assert any(action in scope or "*" in scope for scope in scopes)


FORMS = [
    {"grant_type": "password", "username": "reader", "password": PASSWORDS["reader"]},
    {"grant_type": "password", "username": "reader", "password": PASSWORDS["writer"]},
    {"grant_type": "password", "username": "reader", "password": PASSWORDS["reader"], "scope": "x"},
    {"grant_type": "refresh_token", "refresh_token": "x"},
    {"grant_type": "client_credentials", "client_id": "reader"},
]


@examples()
@given(changed(st.sampled_from([urlencode(form).encode() for form in FORMS])), st.booleans())
def test_a_form_that_is_not_exactly_right_gets_no_token(
    registry: Registry, body: bytes, by_get: bool
) -> None:
    """The same in a query is an anonymous request, and its token grants nothing."""
    if by_get:
        answer = registry.ask("GET", TOKENS, query=body)
        assert answer.status in (200, 400, 413)
        assert answer.status != 200 or granted(answer).keys() <= {"public/app"}
        return
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    answer = registry.ask("POST", TOKENS, form, body=body)
    if answer.status < 400:
        first = dict(reversed(parse_qsl(body.decode("ascii"), keep_blank_values=True)))
        assert first["grant_type"] == "password"
        assert PASSWORDS[first["username"]] == first["password"]


@examples(60)
@given(data=st.data())
def test_a_changed_refresh_token_gets_no_token(registry: Registry, data: st.DataObject) -> None:
    """Nor does one for another password, nor an access token."""
    headers = [(b"authorization", b"Basic " + encoded(f"reader:{PASSWORDS['reader']}"))]
    answer = registry.ask("GET", TOKENS, headers, b"offline_token=true")
    login: str = json.loads(answer.body)["refresh_token"]
    others = [login, login, kept(registry), good(registry), "", "reader"]
    text = data.draw(changed(st.sampled_from([each.encode() for each in others])))
    form = [(b"content-type", b"application/x-www-form-urlencoded")]
    body = urlencode({"grant_type": "refresh_token", "refresh_token": text}).encode()
    status = registry.ask("POST", TOKENS, form, body=body).status
    assert status in ((200,) if text == login.encode() else (401, 413))
