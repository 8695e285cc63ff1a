"""Tokens: trusted keys, algorithms of their type, the right audience, time and kind."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.interfaces import Action, Grants
from registry_server.access.refusals import TokenInvalid
from registry_server.access.tokens.bearer import (
    _LONGEST_CACHED,
    LEEWAY,
    LONGEST,
    SHORTEST_LIFETIME,
    Claims,
    TokenIssuer,
    TokenVerifier,
)
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.refresh import TYPE, RefreshTokens
from registry_server.access.tokens.signing_keys import (
    KeyUnusable,
    PrivateKey,
    SigningKey,
    VerificationKey,
    libtrust_id,
    to_jwk,
)
from storage.values.names import RepositoryName

NOW = 1_800_000_000
ISSUER, SERVICE = "auth.example.com", "registry.example.com"
GRANTS = Grants({"team/app": frozenset({Action.PULL, Action.PUSH})}, catalog=True)


def signing_key(private: PrivateKey) -> SigningKey:
    """Load a private key as an operator configures it."""
    return SigningKey.parse(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )


EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
KEY, RSA_KEY = signing_key(EC), signing_key(RSA)
OTHER = signing_key(ec.generate_private_key(ec.SECP256R1()))
KEYS = Keyring.of([KEY.public, RSA_KEY.public])


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def verifier(keys: Keyring = KEYS, **options: Any) -> TokenVerifier:
    """Return a verifier with an empty cache."""
    return TokenVerifier(keys, ISSUER, SERVICE, **options)


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a valid token with changes; None removes one."""
    good = {
        "iss": ISSUER, "sub": "ann", "aud": SERVICE, "exp": NOW + 300, "nbf": NOW, "iat": NOW,
        "jti": "1", "access": [{"type": "repository", "name": "a", "actions": ["pull"]}],
    }  # fmt: skip
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(headers: Mapping[str, Any] | None = None, **changed: Any) -> str:
    """Sign claims with the registry's key, and additional headers."""
    headers = {"kid": KEY.id} if headers is None else headers
    return jwt.encode(claims(**changed), EC, "ES256", dict(headers))


def encode(part: object) -> str:
    """Encode a part of a token."""
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def refused(text: str, with_: TokenVerifier | None = None, now: float = NOW) -> str:
    """Return why a token is refused; the reason quotes nothing of it."""
    with pytest.raises(TokenInvalid) as caught:
        (with_ or verifier()).verify(text, now)
    reason = str(caught.value)
    assert caught.value.__cause__ is None
    assert not any(len(part) > 8 and part in reason for part in text.split("."))
    return reason


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), None])
def test_issued_tokens_are_verified(curve: ec.EllipticCurve | None) -> None:
    """Subject and grants are unchanged, with each type of key."""
    private: PrivateKey = ec.generate_private_key(curve) if curve else RSA
    key = signing_key(private)
    issued = TokenIssuer(key, ISSUER, clock=Clock()).sign("ann", GRANTS, SERVICE)
    found = verifier(Keyring.of([key.public])).verify(issued.text, NOW)
    assert (found.sub, found.grants, found.expires) == ("ann", GRANTS, NOW + 300)
    assert (issued.expires_in, issued.issued_at) == (300, NOW)
    assert found.grants.allow(Action.PUSH, RepositoryName("team/app"))
    assert not found.grants.allow(Action.OVERWRITE, RepositoryName("team/app"))


def test_an_ed25519_key_signs_tokens_too() -> None:
    """EdDSA is among the accepted algorithms."""
    key = signing_key(ed25519.Ed25519PrivateKey.generate())
    issued = TokenIssuer(key, ISSUER, clock=Clock()).sign("ann", GRANTS, SERVICE)
    assert verifier(Keyring.of([key.public])).verify(issued.text, NOW).sub == "ann"


def test_a_token_without_a_subject_is_valid() -> None:
    """Anonymous clients get them: the subject is empty or missing."""
    issued = TokenIssuer(KEY, ISSUER, clock=Clock()).sign("", GRANTS, SERVICE)
    assert verifier().verify(issued.text, NOW).sub == ""
    assert verifier().verify(signed(sub=None), NOW).sub == ""


def test_each_token_has_an_id_of_its_own() -> None:
    """Two tokens with the same content differ."""
    issuer = TokenIssuer(KEY, ISSUER, clock=Clock())
    ids = {verifier().verify(issuer.sign("", GRANTS, SERVICE).text, NOW).jti for _ in range(2)}
    assert len(ids) == 2


def test_a_key_carried_in_the_token_is_refused() -> None:
    """A `jwk` in the header is ignored, with any `kid` or none (CVE-2025-24976)."""
    private = ec.generate_private_key(ec.SECP256R1())
    jwk = to_jwk(VerificationKey.of(private.public_key()).key)
    own = signing_key(private).id
    for headers in ({}, {"kid": own}, {"kid": KEY.id}, {"jku": "https://evil.example.com"}):
        named = {**jwk, **headers}
        forged = jwt.encode(claims(), private, "ES256", {"jwk": named, **headers})
        assert "signed" in refused(forged)


def test_a_key_carried_in_the_token_changes_nothing() -> None:
    """A valid token stays valid with a `jwk`, which is ignored."""
    assert verifier().verify(signed({"jwk": {"kty": "oct", "k": "AAAA"}}), NOW).sub == "ann"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, ["ES256"], {"ES256": 1}, 5])
def test_a_token_without_an_algorithm_is_refused(alg: object) -> None:
    """`none` in any spelling, and invalid names, with a signature or without."""
    for header in ({"alg": alg}, {"alg": alg, "kid": KEY.id}):
        bare = f"{encode(header)}.{encode(claims())}"
        refused(f"{bare}.")
        refused(f"{bare}.{signed().rpartition('.')[2]}")


@pytest.mark.parametrize("private", [EC, RSA])
def test_a_public_key_is_no_shared_secret(private: PrivateKey) -> None:
    """A token signed by HMAC with the public key is refused."""
    public = VerificationKey.of(private.public_key()).key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kid in ({}, {"kid": signing_key(private).id}):
        for alg, hash in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
            signing = f"{encode({'alg': alg, **kid})}.{encode(claims())}"
            signature = hmac.digest(pem, signing.encode(), hash)
            assert "signed" in refused(f"{signing}.{encode(signature)}")


@pytest.mark.parametrize(
    ("algorithm", "kid"),
    [("RS256", KEY.id), ("ES256", RSA_KEY.id), ("ES384", KEY.id)],
    ids=["RS256", "ES256", "ES384"],
)
def test_an_algorithm_fits_its_key_or_is_refused(algorithm: str, kid: str) -> None:
    """A key is never used with an algorithm of another type or curve."""
    header = {"alg": algorithm, "kid": kid}
    signature = RSA_KEY.sign({}, "JWT").rpartition(".")[2]
    assert "signed" in refused(f"{encode(header)}.{encode(claims())}.{signature}")


def test_a_key_is_only_used_with_its_algorithm() -> None:
    """The registry's RSA key signs RS256, so PS256 is refused; other issuers' keys do both."""
    pss = jwt.encode(claims(), RSA, "PS256", {"kid": RSA_KEY.id})
    refused(pss)
    theirs = Keyring.of([VerificationKey.of(RSA.public_key())])
    assert verifier(theirs).verify(pss, NOW).sub == "ann"
    refused(pss, verifier(theirs, algorithms=["RS256", "ES256"]))


@pytest.mark.parametrize("algorithms", [[], ["none"], ["HS256"], ["ES256", "HS512"], ["RS1"]])
def test_no_configuration_allows_a_shared_secret(algorithms: list[str]) -> None:
    """A verifier that accepts `none` or HMAC, or no algorithm at all, can't be created."""
    with pytest.raises(ValueError, match="algorithms must be among"):
        verifier(algorithms=algorithms)


def test_a_forged_signature_is_refused() -> None:
    """By another key under the registry's id; over other claims; cut; or missing."""
    forged = jwt.encode(claims(), OTHER.private, "ES256", {"kid": KEY.id})
    assert "signed" in refused(forged)
    head, body, signature = signed().split(".")
    refused(f"{head}.{encode(claims(sub='root'))}.{signature}")
    refused(f"{head}.{body}.{signature[:-4]}")
    refused(f"{head}.{body}.")
    refused(f"{head}.{body}.{encode(bytes(64))}")


def test_the_kid_of_another_key_is_refused() -> None:
    """An id selects among the keys: an unknown id, or that of another key, selects none."""
    for kid in (OTHER.id, RSA_KEY.id, "", "../../dev/null", "' or 1=1"):
        assert "signed" in refused(signed({"kid": kid}))
    refused(signed_with_odd_kid())


def signed_with_odd_kid() -> str:
    """Return a token whose kid is not a string."""
    return f"{encode({'alg': 'ES256', 'kid': ['a']})}.{encode(claims())}.AAAA"


def test_without_a_kid_each_key_of_the_type_is_tried() -> None:
    """A `kid` is optional, and may be the id that distribution gives a certificate."""
    assert verifier().verify(signed({}), NOW).sub == "ann"
    assert verifier().verify(jwt.encode(claims(), RSA, "RS256"), NOW).sub == "ann"
    assert verifier().verify(signed({"kid": libtrust_id(KEY.public.key)}), NOW).sub == "ann"
    refused(jwt.encode(claims(), OTHER.private, "ES256"))


@pytest.mark.parametrize("issuer", ["", "other", ISSUER + "/", ISSUER.upper(), None, [ISSUER], 5])
def test_another_issuer_is_refused(issuer: object) -> None:
    """The issuer must be equal."""
    text = f"{encode({'alg': 'ES256', 'kid': KEY.id})}.{encode(claims(iss=issuer))}"
    signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), EC)
    assert "issuer" in refused(f"{text}.{encode(signature)}")


@pytest.mark.parametrize("audience", ["", "other", None, [], ["other"], {SERVICE: 1}, 5])
def test_another_audience_is_refused(audience: object) -> None:
    """The audience must be this service, or a list with it."""
    assert "service" in refused(signed(aud=audience))


def test_one_of_several_audiences_is_enough() -> None:
    """A token may be for several services."""
    assert verifier().verify(signed(aud=["other", SERVICE]), NOW).sub == "ann"


def test_a_token_is_valid_in_its_time_with_a_leeway() -> None:
    """Expired and future tokens are refused; a minute between two clocks is accepted."""
    text = signed(nbf=NOW, exp=NOW + 300)
    for now in (NOW - LEEWAY, NOW, NOW + 300 + LEEWAY):
        assert verifier().verify(text, now).sub == "ann"
    assert "yet" in refused(text, now=NOW - LEEWAY - 1)
    assert "expired" in refused(text, now=NOW + 300 + LEEWAY + 1)


def test_the_logs_tell_an_expired_token_from_an_invalid_one() -> None:
    """Each refusal has the outcome that the context of the request records."""
    for now, outcome in ((NOW + 300 + LEEWAY + 1, "expired"), (NOW - LEEWAY - 1, "failed")):
        with pytest.raises(TokenInvalid) as caught:
            verifier().verify(signed(nbf=NOW, exp=NOW + 300), now)
        assert caught.value.outcome == outcome


def test_a_cached_token_still_expires() -> None:
    """The times of a cached token are checked at each use."""
    seen, text = verifier(), signed()
    assert seen.verify(text, NOW) is seen.verify(text, NOW)
    assert "expired" in refused(text, seen, NOW + 300 + LEEWAY + 1)
    assert "yet" in refused(text, seen, NOW - LEEWAY - 1)


def test_a_refused_token_is_not_cached() -> None:
    """A future token becomes valid later; a forged one stays refused."""
    seen, text = verifier(), signed()
    refused(text, seen, NOW - LEEWAY - 1)
    assert seen.verify(text, NOW).sub == "ann"
    forged = text[:-6] + ("AAAAAA" if text[-6:] != "AAAAAA" else "BBBBBB")
    refused(forged, seen)
    refused(forged, seen)


def test_the_time_is_the_clocks_unless_it_is_given() -> None:
    """A verifier has a clock."""
    clock = Clock()
    timed, text = verifier(clock=clock), signed()
    assert timed.verify(text).sub == "ann"
    clock.now = NOW + 300 + LEEWAY + 1
    with pytest.raises(TokenInvalid):
        timed.verify(text)


@pytest.mark.parametrize("moment", [None, "soon", True, [], -1, 1e300, float("nan"), 1 << 80])
def test_an_invalid_expiry_is_refused(moment: object) -> None:
    """A token without an expiry, or with an absurd one, is refused."""
    assert "exp" in refused(signed(exp=moment))
    if moment is not None:
        text = f"{encode({'alg': 'ES256'})}.{encode(claims(nbf=moment))}"
        signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), EC)
        assert "nbf" in refused(f"{text}.{encode(signature)}")


@pytest.mark.parametrize(
    "changed",
    [
        {"access": {}}, {"access": "pull"}, {"access": [1]}, {"access": [{"type": "repository"}]},
        {"jti": 5}, {"sub": "a\nb"}, {"sub": "\ud800"},
    ],
)  # fmt: skip
def test_malformed_claims_are_refused(changed: dict[str, Any]) -> None:
    """A claim of another type, or a name that can't be logged, makes the token invalid."""
    text = f"{encode({'alg': 'ES256'})}.{encode(claims(**changed))}"
    signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), EC)
    refused(f"{text}.{encode(signature)}")


def test_a_token_without_access_grants_nothing() -> None:
    """A login requests no scope."""
    assert verifier().verify(signed(access=None), NOW).grants == Grants({})


def test_the_push_of_other_issuers_may_move_tags() -> None:
    """Their tokens have no word for it; it is granted only where the verifier is told to."""
    text = signed(access=[{"type": "repository", "name": "a", "actions": ["push"]}])
    theirs = verifier(push_overwrites=True).verify(text, NOW).grants
    assert theirs.repositories == {"a": {Action.PUSH, Action.OVERWRITE}}
    assert verifier().verify(text, NOW).grants.repositories == {"a": {Action.PUSH}}


@pytest.mark.parametrize(
    "header", [{"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"b64": True, "crit": ["b64"]}]
)
def test_an_extension_of_the_header_is_refused(header: dict[str, Any]) -> None:
    """It would change the meaning of the token, and is not supported."""
    bare = f"{encode({'alg': 'ES256', **header})}.{encode(claims())}"
    signature = jwt.get_algorithm_by_name("ES256").sign(bare.encode(), EC)
    refused(f"{bare}.{encode(signature)}")


def test_the_cache_of_long_tokens_is_bounded() -> None:
    """Hundreds of them do not fill the memory; each is verified, cached or not."""
    verifying = verifier()
    tokens = [signed(pad="a" * 45_000, jti=f"{number}") for number in range(80)]
    for text in (*tokens, *tokens[:5], *tokens[-5:]):
        assert verifying.verify(text, NOW).sub == "ann"
    assert 0 < len(verifying._cache) < len(tokens)
    assert verifying._length == sum(length for _, _, length in verifying._cache.values())
    assert verifying._length <= _LONGEST_CACHED


def test_the_length_of_a_token_is_limited() -> None:
    """A longer one is refused before it is parsed, and is not issued."""
    assert "long" in refused(signed(pad="a" * LONGEST))
    many = Grants({f"{at:0200}": frozenset({Action.PULL}) for at in range(300)})
    with pytest.raises(ValueError, match="fewer repositories"):
        TokenIssuer(KEY, ISSUER).sign("", many, SERVICE)


def test_the_lifetime_has_a_minimum() -> None:
    """A minute, by the specification."""
    with pytest.raises(ValueError, match="60 seconds"):
        TokenIssuer(KEY, ISSUER, lifetime=SHORTEST_LIFETIME - 1)


@given(st.text(max_size=300) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){2}"))
def test_no_text_raises_an_undeclared_error(text: str) -> None:
    """Any text is refused."""
    with pytest.raises(TokenInvalid):
        _SHARED.verify(text, NOW)


_SHARED = verifier()
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_NAMES = ["alg", "kid", "typ", "jwk", "x5c", "crit", "b64", "zip", "cty"]


@given(st.dictionaries(st.sampled_from(_NAMES), _JSON | st.just("ES256") | st.just(KEY.id)))
def test_no_header_raises_an_undeclared_error(header: dict[str, object]) -> None:
    """Any JSON as a header is refused with a reason."""
    with pytest.raises(TokenInvalid):
        _SHARED.verify(f"{encode(header)}.{encode(claims())}.AAAA", NOW)


@given(_JSON | st.dictionaries(st.sampled_from(list(claims())), _JSON))
def test_no_claims_raise_an_undeclared_error(payload: object) -> None:
    """Any signed claims are verified, or refused with a reason."""
    merged = claims() | payload if isinstance(payload, dict) else payload
    bare = f"{encode({'alg': 'ES256'})}.{encode(merged)}"
    signature = jwt.get_algorithm_by_name("ES256").sign(bare.encode(), EC)
    with suppress(TokenInvalid):
        assert isinstance(_SHARED.verify(f"{bare}.{encode(signature)}", NOW), Claims)


def refresh_tokens(
    generations: Mapping[str, str], clock: Clock, key: SigningKey = KEY
) -> RefreshTokens:
    """Return refresh tokens for users with these password generations."""

    async def generation(name: str) -> str | None:
        return generations.get(name)

    return RefreshTokens(key, ISSUER, SERVICE, generation, clock=clock)


async def taken(tokens: RefreshTokens, text: str | None) -> str | None:
    """Return the user of a refresh token; None if it is refused."""
    assert text is not None
    try:
        return await tokens.verify(text)
    except TokenInvalid:
        return None


async def test_a_refresh_token_names_its_user() -> None:
    """For thirty days after the login."""
    clock = Clock()
    tokens = refresh_tokens({"ann": "1"}, clock)
    text = await tokens.issue("ann")
    clock.now = NOW + 30 * 24 * 3600
    assert await taken(tokens, text) == "ann"
    clock.now += LEEWAY + 1
    assert await taken(tokens, text) is None


async def test_a_refresh_token_ends_with_the_password_and_with_the_user() -> None:
    """After a new password, or without the user, it is refused."""
    generations = {"ann": "1"}
    tokens = refresh_tokens(generations, Clock())
    text = await tokens.issue("ann")
    generations["ann"] = "2"
    assert await taken(tokens, text) is None
    del generations["ann"]
    assert await taken(tokens, text) is None
    assert await tokens.issue("ann") is None
    assert await refresh_tokens({"": "1"}, Clock()).issue("") is None


async def test_a_refresh_token_is_no_access_token() -> None:
    """Its type is refused; and so is its audience, if it had another type."""
    text = await refresh_tokens({"ann": "1"}, Clock()).issue("ann")
    assert text is not None
    assert "type" in refused(text)
    payload = jwt.decode(text, options={"verify_signature": False})
    retyped = jwt.encode(payload, EC, "ES256", {"kid": KEY.id, "typ": "JWT"})
    assert "service" in refused(retyped)


async def test_an_access_token_is_no_refresh_token() -> None:
    """Its type is refused; and so is its audience, if it had another type."""
    tokens = refresh_tokens({"ann": "1"}, Clock())
    access = TokenIssuer(KEY, ISSUER, clock=Clock()).sign("ann", GRANTS, SERVICE).text
    assert await taken(tokens, access) is None
    payload = claims(gen="1")
    assert await taken(tokens, jwt.encode(payload, EC, "ES256", {"typ": TYPE})) is None
    good = payload | {"aud": f"{SERVICE}#{TYPE}"}
    assert await taken(tokens, jwt.encode(good, EC, "ES256", {"typ": TYPE})) == "ann"


async def test_a_forged_refresh_token_is_refused() -> None:
    """Also one signed by another key under the registry's id."""
    text = await refresh_tokens({"ann": "1"}, Clock(), OTHER).issue("ann")
    assert await taken(refresh_tokens({"ann": "1"}, Clock()), text) is None


@dataclass(frozen=True)
class Authority:
    """A certificate and its key."""

    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey

    def issue(
        self, name: str, *, ca: bool, days: int = 1, certifies: bool | None = None
    ) -> Authority:
        """Certify a new key, which may certify others if it is an authority's."""
        private = ec.generate_private_key(ec.SECP256R1())
        may = ca if certifies is None else certifies
        return Authority(_certify(name, private, self, ca=ca, days=days, certifies=may), private)

    @property
    def der(self) -> str:
        """Return the entry of an x5c header."""
        return base64.b64encode(self.certificate.public_bytes(Encoding.DER)).decode()


def root(
    name: str = "root", *, certifies: bool | None = True, below: int | None = None
) -> Authority:
    """Return a self-signed authority; `below` is how many others it allows below it."""
    private = ec.generate_private_key(ec.SECP256R1())
    made = _certify(name, private, None, ca=True, days=1, certifies=certifies, below=below)
    return Authority(made, private)


def _certify(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    by: Authority | None,
    *,
    ca: bool,
    days: int,
    certifies: bool | None,
    below: int | None = None,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    signer = by.private if by else key
    now = datetime.fromtimestamp(NOW, UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=below), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
        )
    )
    if certifies is not None:
        usage = x509.KeyUsage(True, False, False, False, False, certifies, False, False, False)
        made = made.add_extension(usage, critical=True)
    return made.sign(signer, hashes.SHA256())


ROOT = root()
LEAF = ROOT.issue("leaf", ca=False)
ROOTED = Keyring.of([KEY.public], [ROOT.certificate])


def chained(*chain: Authority, by: Authority | None = None, **headers: str) -> str:
    """Sign with the key of the first certificate of a chain, or of another."""
    shown = {"x5c": [each.der for each in chain], **headers}
    return jwt.encode(claims(), (by or chain[0]).private, "ES256", shown)


def test_a_chain_to_a_configured_certificate_is_trusted() -> None:
    """A leaf, one below an intermediate, and the certificate itself."""
    between = ROOT.issue("between", ca=True)
    below = between.issue("below", ca=False)
    for text in (
        chained(LEAF),
        chained(LEAF, kid=libtrust_id(VerificationKey.of(LEAF.private.public_key()).key)),
        chained(below, between),
        chained(below, between, ROOT),
        chained(ROOT),
    ):
        assert verifier(ROOTED).verify(text, NOW).sub == "ann"
    bare = jwt.encode(claims(), ROOT.private, "ES256")
    assert verifier(ROOTED).verify(bare, NOW).sub == "ann"


def test_other_chains_are_refused() -> None:
    """To a root of the same name; through a leaf; with a gap; expired; or signed by another key."""
    stranger = root()
    between = ROOT.issue("between", ca=True)
    old = ROOT.issue("old", ca=False, days=-1)
    through = LEAF.issue("through", ca=False)
    idle = ROOT.issue("idle", ca=True, certifies=False)
    for text in (
        chained(stranger),
        chained(stranger.issue("leaf", ca=False)),
        chained(stranger.issue("leaf", ca=False), ROOT),
        chained(through, LEAF),
        chained(through, LEAF, ROOT),
        chained(idle.issue("below", ca=False), idle),
        chained(between.issue("below", ca=False)),
        chained(old),
        chained(LEAF, by=stranger),
    ):
        refused(text, verifier(ROOTED))
    refused(chained(LEAF), verifier(Keyring.of([KEY.public])))


def test_ambiguous_chains_are_refused() -> None:
    """The verifier would try certificates of one name and key as issuers of each other."""
    looping = root("loop")
    again = _certify("loop", looping.private, looping, ca=True, days=1, certifies=True)
    chain = [looping.issue("leaf", ca=False), looping, Authority(again, looping.private)]
    with pytest.raises(KeyUnusable, match="same subject"):
        ROOTED.key_from_chain([each.der for each in chain], NOW)
    twice = [LEAF.der, ROOT.der, ROOT.der]
    assert ROOTED.key_from_chain(twice, NOW) == VerificationKey.of(LEAF.private.public_key())


def test_an_authority_without_a_key_usage_is_trusted() -> None:
    """`openssl req -x509` creates such. A leaf, or one too far up, is not trusted."""
    plain, near = root(certifies=None), root(below=0)
    ring = Keyring.of([], [plain.certificate, near.certificate])
    for text in (chained(plain.issue("leaf", ca=False)), chained(near.issue("leaf", ca=False))):
        assert verifier(ring).verify(text, NOW).sub == "ann"
    end, between = plain.issue("end", ca=False), near.issue("between", ca=True)
    refused(chained(end.issue("below", ca=False), end), verifier(ring))
    refused(chained(between.issue("below", ca=False), between), verifier(ring))


def test_a_configured_kid_has_precedence_over_a_chain() -> None:
    """A token with the id of a configured key is verified with that key."""
    refused(chained(LEAF, kid=KEY.id), verifier(ROOTED))
    text = jwt.encode(claims(), EC, "ES256", {"kid": KEY.id, "x5c": ["nonsense"]})
    assert verifier(ROOTED).verify(text, NOW).sub == "ann"


@pytest.mark.parametrize("keys", [ROOTED, Keyring.of([KEY.public])], ids=["with roots", "without"])
def test_a_certificate_of_an_unknown_version_is_refused(keys: Keyring) -> None:
    """Any chain is answered without a failure."""
    der = bytearray(LEAF.certificate.public_bytes(Encoding.DER))
    at = der.index(b"\xa0\x03\x02\x01\x02") + 4  # RFC 5280, 4.1.2.1: version 3 is written 2
    der[at] = 5
    shown = {"x5c": [base64.b64encode(der).decode()]}
    refused(jwt.encode(claims(), LEAF.private, "ES256", shown), verifier(keys))


# A certificate whose title is a bit string, which X.500 does not have; found by fuzzing.
_TITLE_OF_BITS = (
    "MIIBGjCBwqADAgECAgEFMAoGCCqGSM49BAMCMA0xCzAJBgNVBAMMAmNhMB4XDTYwMDEwMTAwMDAwMFoXDTQwMDEw"
    "MTAwMDAwMFowDTELMAkGA1UEDAMCY2EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARcQGrEpWbAPJdXA/56WmHh"
    "lrWPYub/2bscvELmAeTj9PkWVpyNHi57GCFM2hXe/iyjaoOIm+hMfYCqFF7ozz6FoxMwETAPBgNVHRMBAf8EBTAD"
    "AQH/MAoGCG6GSM49BAMCA0cAMEQCIB8Mwm3QFT8dK0/1vBjgzPHTs2tO/5Ktxienkann0XjEAiJQLTI1NiKs9UlM"
    "G8CCQVD/zr1cIpb85WvI1VQ/rm8tiw=="
)


@pytest.mark.parametrize("keys", [ROOTED, Keyring.of([KEY.public])], ids=["with roots", "without"])
def test_a_malformed_certificate_is_refused(keys: Keyring) -> None:
    """Whatever error its verification raises, the client is told that it is not trusted."""
    shown = {"x5c": [_TITLE_OF_BITS]}
    refused(jwt.encode(claims(), LEAF.private, "ES256", shown), verifier(keys))


@pytest.mark.parametrize("end", ["=", "==", " ", "\n", "."])
def test_a_token_has_one_encoding(end: str) -> None:
    """Padding, which RFC 7515 omits, is refused like other text after the token."""
    refused(signed() + end)
