"""Bearer tokens (RFC 7519, and Docker's "Token Authentication Implementation").

    access token ─► TokenVerifier ─► Claims        TokenIssuer ─► access token

PyJWT verifies the signature, with a configured key and the algorithms of its type, never with those
that the token names. This module checks the claims.
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

from registry_server.access.interfaces import Action, Grants
from registry_server.access.refusals import TokenExpired, TokenInvalid
from registry_server.access.tokens.keyring import Keyring
from registry_server.access.tokens.scopes import ScopeInvalid, access_of, parse_access
from registry_server.access.tokens.signing_keys import KeyUnusable, SigningKey, VerificationKey
from registry_server.config.robot_names import is_robots

# Characters. Some issuers send 40,000, for many groups or repositories; a head has 65,536 bytes.
LONGEST = 60 << 10
LEEWAY = 60  # seconds, as in distribution
LIFETIME = 300
SHORTEST_LIFETIME = 60  # set by the specification, and older clients rely on it

ALGORITHMS = frozenset(
    {"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
)
ACCESS_TYPE = "JWT"
# The claim that identifies one password of a user, or one of the robot accounts that had a name.
GENERATION = "gen"

_ACCESS_TYPES = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
# Limits of the cache: tokens, and characters of these together, because claims grow with tokens.
_MOST_CACHED = 1024
_LONGEST_CACHED = 2 << 20
_LATEST = 1 << 53  # the largest exact integer of a JSON number

# Neither `crit` nor `b64` (RFC 7797) is useful in a token, and both change what is signed.
_REFUSED_HEADERS = ("crit", "b64")

_JWS = jwt.PyJWS()

Payload: TypeAlias = Mapping[str, object]
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token. `sub` is empty for an anonymous caller.

    In this registry's own tokens, `generation` identifies the robot account they were issued to.
    """

    sub: str
    grants: Grants
    jti: str
    expires: float
    generation: str


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed token, its lifetime in seconds, and the Unix time of its issue."""

    text: str
    expires_in: int
    issued_at: int


@dataclass(frozen=True, slots=True)
class ExpectedClaims:
    """The expected issuer and audience of a token, and the leeway for its times in seconds."""

    issuer: str
    audience: str
    leeway: float = LEEWAY

    def check(self, payload: Payload, now: float) -> float:
        """Return the Unix time when the token expires; raise `TokenInvalid` if it is invalid."""
        if payload.get("iss") != self.issuer:
            raise TokenInvalid("the token is from another issuer")
        audience = payload.get("aud")
        if self.audience not in (audience if isinstance(audience, list) else [audience]):
            raise TokenInvalid("the token is for another service")
        expires = _moment(payload, "exp")
        self.check_time(expires, _moment(payload, "nbf") if "nbf" in payload else 0, now)
        return expires

    def check_time(self, expires: float, begins: float, now: float) -> None:
        """Raise `TokenInvalid` unless `now` is between the two, with the leeway on both sides."""
        if now > expires + self.leeway:
            raise TokenExpired
        if now < begins - self.leeway:
            raise TokenInvalid("the token is not valid yet")


def _moment(payload: Payload, claim: str) -> float:
    value = payload.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise TokenInvalid(f"the token's {claim} is missing or not a time")
    return value


def text_of(payload: Payload, claim: str) -> str:
    """Return a claim that is text, or "" if it is missing; raise `TokenInvalid` otherwise.

    The text must be printable, because it is logged; half a surrogate pair can't be written at all.
    """
    value = payload.get(claim, "")
    if not isinstance(value, str) or not value.isprintable():
        raise TokenInvalid(f"the token's {claim} is not text")
    return value


def verify_signature(
    text: str, keys: Keyring, types: Iterable[str], algorithms: frozenset[str], now: float
) -> Payload:
    """Verify the signature of a token whose `typ` is one of `types`; return its payload.

    The claims are not checked. Raises `TokenInvalid`.
    """
    # RFC 7515 (2) omits padding: with it, the same token would have a second encoding.
    if len(text) > LONGEST or not text.isascii() or "=" in text:
        raise TokenInvalid("the token is malformed or too long")
    header = _header(text)
    if str(header.get("typ", "")).lower() not in types:
        raise TokenInvalid("the token is of another type")
    for key in _candidates(header, keys, now):
        allowed = [name for name in key.algorithms if name in algorithms]
        if header.get("alg") in allowed:
            payload = _verified(text, key, allowed)
            if payload is not None:
                return _parse(payload)
    raise TokenInvalid("the token is not signed by a trusted key with an allowed algorithm")


def _header(text: str) -> dict[str, Any]:
    try:
        header = jwt.get_unverified_header(text)
    except jwt.PyJWTError:
        raise TokenInvalid("the token is malformed") from None
    if any(name in header for name in _REFUSED_HEADERS):
        raise TokenInvalid("the token's header has an unsupported extension")
    return header


def _candidates(
    header: Mapping[str, Any], keys: Keyring, now: float
) -> tuple[VerificationKey, ...]:
    """Return the keys to try. A `jwk` in the header is ignored (CVE-2025-24976)."""
    if "kid" in header:
        named = keys.with_id(header["kid"])
        if named or "x5c" not in header:
            return named
    if "x5c" not in header:
        return keys.keys
    try:
        return (keys.key_from_chain(header["x5c"], now),)
    except KeyUnusable as error:
        raise TokenInvalid(str(error)) from None


def _verified(text: str, key: VerificationKey, algorithms: list[str]) -> bytes | None:
    """Return the payload if `key` signed the token, else None."""
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
        raise TokenInvalid("the token's payload is not JSON") from None
    if not isinstance(parsed, dict):
        raise TokenInvalid("the token's payload is not an object")
    return parsed


class TokenVerifier:
    """Verifies access tokens, and caches the claims of valid ones.

    Its keys never change; `verifiers` replaces the whole verifier when keys do.
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

        `push_overwrites` is for tokens of other issuers, which have no word for moving a tag.
        Raises ValueError for an unknown algorithm, or one that signs with a shared secret.
        """
        self._algorithms = frozenset(algorithms)
        if not self._algorithms or not self._algorithms <= ALGORITHMS:
            raise ValueError(f"the algorithms must be among {', '.join(sorted(ALGORITHMS))}")
        self._keys = keys
        self._expected = ExpectedClaims(issuer, service, leeway)
        self._push_overwrites = push_overwrites
        self._clock = clock
        # Claims, `nbf` and length by the token's digest: the cache must hold no usable token.
        self._cache: OrderedDict[bytes, tuple[Claims, float, int]] = OrderedDict()
        self._length = 0

    def verify(self, text: str, now: float | None = None) -> Claims:
        """Return the claims of a token, or raise `TokenInvalid`."""
        now = self._clock() if now is None else now
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        cached = self._cache.get(digest)
        if cached is None:
            cached = (*self._verify(text, now), len(text))
            self._add_to_cache(digest, cached)
        else:
            self._cache.move_to_end(digest)
        claims, begins, _ = cached
        self._expected.check_time(claims.expires, begins, now)
        return claims

    def _verify(self, text: str, now: float) -> tuple[Claims, float]:
        payload = verify_signature(text, self._keys, _ACCESS_TYPES, self._algorithms, now)
        expires = self._expected.check(payload, now)
        try:
            grants = parse_access(payload.get("access"))
        except ScopeInvalid as error:
            raise TokenInvalid(str(error)) from None
        if self._push_overwrites:
            grants = _with_overwrite(grants)
        sub = text_of(payload, "sub")
        if self._push_overwrites and is_robots(sub):
            raise TokenInvalid("the token's sub is a robot account, which only this registry names")
        if "iat" in payload:
            _moment(payload, "iat")  # not used, but a malformed one makes the token invalid
        generation = payload.get(GENERATION)
        claims = Claims(
            sub,
            grants,
            text_of(payload, "jti"),
            expires,
            generation if isinstance(generation, str) else "",
        )
        return claims, _moment(payload, "nbf") if "nbf" in payload else 0

    def _add_to_cache(self, digest: bytes, cached: tuple[Claims, float, int]) -> None:
        self._cache[digest] = cached
        self._length += cached[2]
        while len(self._cache) > _MOST_CACHED or self._length > _LONGEST_CACHED:
            _, (_, _, length) = self._cache.popitem(last=False)
            self._length -= length


def _with_overwrite(grants: Grants) -> Grants:
    """Return grants where PUSH includes OVERWRITE, without administration: another issuer's."""
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
            raise ValueError(f"the lifetime must be at least {SHORTEST_LIFETIME} seconds")
        self.key = key
        self._issuer = issuer
        self._lifetime = lifetime
        self._clock = clock

    def sign(self, sub: str, grants: Grants, audience: str, generation: str = "") -> IssuedToken:
        """Return a token with `grants` for `sub`, a subject of this `generation`, at `audience`.

        Raises ValueError if it would be longer than registries accept.
        """
        now = int(self._clock())
        claims = {
            **registered_claims(self._issuer, sub, audience, now, self._lifetime),
            "access": access_of(grants),
            **({GENERATION: generation} if generation else {}),
        }
        text = self.key.sign(claims, ACCESS_TYPE)
        if len(text) > LONGEST:
            raise ValueError(
                f"the token would have {len(text)} characters (the limit is {LONGEST}): "
                "request fewer repositories at a time"
            )
        return IssuedToken(text, self._lifetime, now)


def registered_claims(
    issuer: str, sub: str, audience: str, now: int, lifetime: int
) -> dict[str, Any]:
    """Return the claims that every token has (RFC 7519, section 4.1)."""
    moments = {"iat": now, "nbf": now, "exp": now + lifetime}
    return {"iss": issuer, "sub": sub, "aud": audience, "jti": uuid4().hex, **moments}
