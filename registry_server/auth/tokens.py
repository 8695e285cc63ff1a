"""Bearer tokens (RFC 7519, and Docker's "Token Authentication Implementation").

    access token ─► TokenVerifier ─► Claims        TokenIssuer ─► access token

The signature is PyJWT's business: with a key of ours and the algorithms that fit it, whatever the
token says. What the claims must say is checked here, at a time that is given.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import uuid4

import jwt

from registry_server.auth.access import Action, Grants
from registry_server.auth.keyring import Keyring
from registry_server.auth.keys import KeyUnusable, SigningKey, VerificationKey
from registry_server.auth.problems import TokenInvalid
from registry_server.auth.robot_names import is_robots
from registry_server.auth.scopes import ScopeInvalid, access_of, parse_access

# Characters. Issuers that know many groups or repositories send 40,000; a head has 65,536 bytes.
LONGEST = 60 << 10
LEEWAY = 60  # seconds, as in distribution
LIFETIME = 300
SHORTEST_LIFETIME = 60  # the specification's: older clients count on it

ALGORITHMS = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)
ACCESS_TYPE = "JWT"
# The claim that tells one password, or one robot, from the next of the same name.
GENERATION = "gen"

_ACCESS_TYPES = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# The number of remembered tokens, and of their characters: the claims kept grow with the token.
_MOST_REMEMBERED = 1024
_LONGEST_REMEMBERED = 2 << 20
_LATEST = 1 << 53  # what JSON numbers are good for

# Neither `crit` nor `b64` (RFC 7797) is of any use in a token, and both change what is signed.
_REFUSED_HEADERS = ("crit", "b64")

_JWS = jwt.PyJWS()

Payload: TypeAlias = Mapping[str, object]
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. `sub` is empty for somebody nobody knows.

    `generation` is which robot of the name it was issued to, in tokens of ours.
    """

    sub: str
    grants: Grants
    jti: str
    expires: float
    generation: str


@dataclass(frozen=True, slots=True)
class Issued:
    """A token that was signed, for how many seconds it holds, and since when."""

    text: str
    expires_in: int
    issued_at: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Who a token must be from and for, and when it holds."""

    issuer: str
    audience: str
    leeway: float = LEEWAY

    def check(self, payload: Payload, now: float) -> float:
        """Return when the token expires; raise `TokenInvalid` if it is not as expected."""
        if payload.get("iss") != self.issuer:
            raise TokenInvalid("it is from another issuer")
        audience = payload.get("aud")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenInvalid("it is for another service")
        expires = _moment(payload, "exp")
        self.check_time(expires, _moment(payload, "nbf") if "nbf" in payload else 0, now)
        return expires

    def check_time(self, expires: float, begins: float, now: float) -> None:
        """Raise `TokenInvalid` unless `now` lies between, give or take the leeway."""
        if now > expires + self.leeway:
            raise TokenInvalid("it has expired")
        if now < begins - self.leeway:
            raise TokenInvalid("it is not valid yet")


def _moment(payload: Payload, claim: str) -> float:
    found = payload.get(claim)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= _LATEST:
        raise TokenInvalid(f"its {claim} is missing, or no moment")
    return found


def text_of(payload: Payload, claim: str) -> str:
    """Return a claim that is text, or empty when it is missing; raise `TokenInvalid` otherwise.

    Text is what can be printed: it ends up in logs, and half a surrogate pair in no file at all.
    """
    found = payload.get(claim, "")
    if not isinstance(found, str) or not found.isprintable():
        raise TokenInvalid(f"its {claim} is no text")
    return found


def open_token(
    text: str, keys: Keyring, types: Iterable[str], algorithms: frozenset[str], now: float
) -> Payload:
    """Verify the signature of a token whose `typ` is one of `types`; return what it says.

    Nothing that it says is checked. Raises `TokenInvalid`.
    """
    # Padding, which RFC 7515 (2) leaves out, would be a second way to write the same token.
    if len(text) > LONGEST or not text.isascii() or "=" in text:
        raise TokenInvalid("it is too long, or no token")
    header = _header(text)
    if str(header.get("typ", "")).lower() not in types:
        raise TokenInvalid("it is of another type")
    for key in _candidates(header, keys, now):
        fitting = [name for name in key.algorithms if name in algorithms]
        if header.get("alg") in fitting:
            payload = _verified(text, key, fitting)
            if payload is not None:
                return _parse(payload)
    raise TokenInvalid("it is not signed by a key that is trusted, or not in a way that is")


def _header(text: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        raise TokenInvalid("it is malformed") from None
    if any(name in header for name in _REFUSED_HEADERS):
        raise TokenInvalid("its header asks for an extension")
    return header


def _candidates(
    header: Mapping[str, Any], keys: Keyring, now: float
) -> tuple[VerificationKey, ...]:
    """Return the keys to try. A `jwk` in the header is not even looked at (CVE-2025-24976)."""
    if "kid" in header:
        named = keys.named(header["kid"])
        if named or "x5c" not in header:
            return named
    if "x5c" not in header:
        return keys.keys
    try:
        return (keys.vouched_for(header["x5c"], now),)
    except KeyUnusable as error:
        raise TokenInvalid(str(error)) from None


def _verified(text: str, key: VerificationKey, algorithms: list[str]) -> bytes | None:
    """Return the payload if that key signed it."""
    try:
        payload = _JWS.decode_complete(text, key.key, algorithms)["payload"]
    except jwt.PyJWTError:
        return None
    assert isinstance(payload, bytes)
    return payload


def _parse(payload: bytes) -> Payload:
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):
        raise TokenInvalid("what it says is no JSON") from None
    if not isinstance(parsed, dict):
        raise TokenInvalid("what it says is no object")
    return parsed


class TokenVerifier:
    """Verifies access tokens, and remembers which it has.

    It never forgets a key: where keys change, `verifiers` has another one made.
    """

    def __init__(
        self,
        keys: Keyring,
        issuer: str,
        service: str,
        *,
        algorithms: Iterable[str] = ALGORITHMS,
        leeway: float = LEEWAY,
        push_overwrites: bool = False,
        clock: Clock = time.time,
    ) -> None:
        """Verify tokens from `issuer` for `service`.

        `push_overwrites` is for the tokens of others, who have no word for moving a tag. Raises
        ValueError for an algorithm that is none, or that signs with a shared secret.
        """
        self._algorithms = frozenset(algorithms)
        if not self._algorithms or not self._algorithms <= ALGORITHMS:
            raise ValueError(f"algorithms are among {', '.join(sorted(ALGORITHMS))}")
        self._keys = keys
        self._expected = Expected(issuer, service, leeway)
        self._push_overwrites = push_overwrites
        self._clock = clock
        # By the digest, so that nothing in memory can be used as a token; and how long it was.
        self._known: OrderedDict[bytes, tuple[Claims, float, int]] = OrderedDict()
        self._length = 0

    def verify(self, text: str, now: float | None = None) -> Claims:
        """Return what a token says, or raise `TokenInvalid`."""
        now = self._clock() if now is None else now
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        known = self._known.get(digest)
        if known is None:
            known = (*self._verify(text, now), len(text))
            self._remember(digest, known)
        else:
            self._known.move_to_end(digest)
        claims, begins, _ = known
        self._expected.check_time(claims.expires, begins, now)
        return claims

    def _verify(self, text: str, now: float) -> tuple[Claims, float]:
        payload = open_token(text, self._keys, _ACCESS_TYPES, self._algorithms, now)
        expires = self._expected.check(payload, now)
        try:
            grants = parse_access(payload.get("access"))
        except ScopeInvalid as error:
            raise TokenInvalid(str(error)) from None
        if self._push_overwrites:
            grants = _with_overwrite(grants)
        sub = text_of(payload, "sub")
        if self._push_overwrites and is_robots(sub):
            raise TokenInvalid("its sub is the name of a robot, which others can't vouch for")
        if "iat" in payload:
            _moment(payload, "iat")  # nothing goes by it, but what is no token is none
        generation = payload.get(GENERATION)
        known = generation if isinstance(generation, str) else ""
        claims = Claims(sub, grants, text_of(payload, "jti"), expires, known)
        return claims, _moment(payload, "nbf") if "nbf" in payload else 0

    def _remember(self, digest: bytes, known: tuple[Claims, float, int]) -> None:
        self._known[digest] = known
        self._length += known[2]
        while len(self._known) > _MOST_REMEMBERED or self._length > _LONGEST_REMEMBERED:
            _, (_, _, length) = self._known.popitem(last=False)
            self._length -= length


def _with_overwrite(grants: Grants) -> Grants:
    """Return what a token of others grants here: never administration, whatever it says."""
    widened = {
        name: actions | {Action.OVERWRITE} if Action.PUSH in actions else actions
        for name, actions in grants.repositories.items()
    }
    return Grants(widened, grants.catalog)


class TokenIssuer:
    """Signs access tokens."""

    def __init__(
        self, key: SigningKey, issuer: str, lifetime: int = LIFETIME, clock: Clock = time.time
    ) -> None:
        """Sign with `key` as `issuer`; raise ValueError for a lifetime that is too short."""
        if lifetime < SHORTEST_LIFETIME:
            raise ValueError(f"a token lives for at least {SHORTEST_LIFETIME} seconds")
        self.key = key
        self._issuer = issuer
        self._lifetime = lifetime
        self._clock = clock

    def sign(self, sub: str, grants: Grants, audience: str, generation: str = "") -> Issued:
        """Return a token by which `audience` lets `sub`, of a `generation`, do what is granted.

        Raises ValueError if it would be longer than registries accept.
        """
        now = int(self._clock())
        claims = {
            **registered(self._issuer, sub, audience, now, self._lifetime),
            "access": access_of(grants),
            **({GENERATION: generation} if generation else {}),
        }
        text = self.key.sign(claims, ACCESS_TYPE)
        if len(text) > LONGEST:
            raise ValueError(
                f"the token would have {len(text)} characters, and {LONGEST} are accepted: "
                "ask for fewer repositories at a time"
            )
        return Issued(text, self._lifetime, now)


def registered(issuer: str, sub: str, audience: str, now: int, lifetime: int) -> dict[str, Any]:
    """Return the claims that every token has (RFC 7519, section 4.1)."""
    moments = {"iat": now, "nbf": now, "exp": now + lifetime}
    return {"iss": issuer, "sub": sub, "aud": audience, "jti": uuid4().hex, **moments}
