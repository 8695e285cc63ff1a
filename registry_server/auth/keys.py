"""Keys: the one that signs tokens, and those that tokens are verified with.

Every key is ours or was named by the operator. A key that a token brings along is never used,
unless it comes in a certificate that one of the operator's certificates vouches for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import jwt
from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509 import verification
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Jwk: TypeAlias = dict[str, str]

_SMALLEST_RSA = 2048
_LARGEST_FILE = 1 << 20
_MOST_KEYS = 1000
_LONGEST_CHAIN = 5

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "EC": ECAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}

# What goes into a thumbprint, RFC 7638 section 3.2 and RFC 8037 section 2.
_MEMBERS = {"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x"}


class KeyUnusable(ValueError):
    """What should be a key is none, or a weak one. Says why, and nothing of the key."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, the names a token may call it by, and the algorithms it may be used with."""

    key: PublicKey
    ids: frozenset[str]
    algorithms: tuple[str, ...]

    @staticmethod
    def of(key: object, name: str = "", algorithm: str = "") -> VerificationKey:
        """Take a public key, perhaps with a name of its own and the one algorithm it is for.

        Raises `KeyUnusable` for a type of key that is not known, or a weak one.
        """
        public, fitting = _checked(key)
        ids = {thumbprint(public), libtrust_id(public)} | ({name} if name else set())
        if algorithm:
            fitting = tuple(each for each in fitting if each == algorithm)
        return VerificationKey(public, frozenset(ids), fitting)


def _checked(key: object) -> tuple[PublicKey, tuple[str, ...]]:
    """Return a public key and its algorithms: no key is ever used with one of another type."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise KeyUnusable(f"an RSA key has at least {_SMALLEST_RSA} bits")
        return key, _RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise KeyUnusable("an EC key is of P-256, P-384 or P-521")
        return key, (_CURVES[key.curve.name],)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key, ("EdDSA",)
    raise KeyUnusable("a key is EC, RSA or Ed25519")


def to_jwk(key: PublicKey) -> Jwk:
    """Return the public members of a JWK (RFC 7517), without a name."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        made = ECAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, rsa.RSAPublicKey):
        made = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        made = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {member: made[member] for member in _MEMBERS[made["kty"]].split()}


def thumbprint(key: PublicKey) -> str:
    """Return the RFC 7638 thumbprint of a key, over SHA-256, in base64url."""
    canonical = json.dumps(to_jwk(key), sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def libtrust_id(key: PublicKey) -> str:
    """Return the name that libtrust, and so CNCF distribution, gives to a key of a certificate.

    That is 240 bits of the SHA-256 of its DER in base32, in twelve groups of four.
    """
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key of a token server; its representation does not show it."""

    private: PrivateKey
    algorithm: str
    id: str

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    @staticmethod
    def parse(pem: bytes) -> SigningKey:
        """Read a private key in PEM without a passphrase, or raise `KeyUnusable`."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
            raise KeyUnusable("it is no PEM of a private key without a passphrase") from None
        public, fitting = _checked(private.public_key())
        # For mypy: the type of the public key has just been checked.
        assert isinstance(
            private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
        )
        return SigningKey(private, fitting[0], thumbprint(public))

    @property
    def public(self) -> VerificationKey:
        """The key that verifies what this one signs, with the one algorithm it signs with."""
        return VerificationKey.of(self.private.public_key(), algorithm=self.algorithm)

    def sign(self, claims: Mapping[str, Any], typ: str) -> str:
        """Return a token (RFC 7519, compact form) that says `claims`."""
        headers = {"kid": self.id, "typ": typ}
        return jwt.encode(dict(claims), self.private, self.algorithm, headers)


def jwks(keys: Iterable[VerificationKey]) -> dict[str, list[Jwk]]:
    """Return the JWK set (RFC 7517, section 5) for others to verify tokens with."""
    listed = []
    for each in keys:
        jwk = {**to_jwk(each.key), "kid": thumbprint(each.key), "use": "sig"}
        listed.append(jwk | ({"alg": each.algorithms[0]} if len(each.algorithms) == 1 else {}))
    return {"keys": listed}


def load_signing_key(path: Path) -> SigningKey:
    """Read the signing key in a file (blocks); raise OSError or `KeyUnusable`."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise KeyUnusable("it is too large for a key")
    return SigningKey.parse(content)


def load_or_create_signing_key(path: Path) -> SigningKey:
    """Read the signing key in a file, which is made if there is none (blocks).

    Workers that start at once agree on one: the file appears whole, and only if there was none.
    Raises OSError or `KeyUnusable`.
    """
    try:
        return load_signing_key(path)
    except FileNotFoundError:
        _create(path, _new_pem())
        return load_signing_key(path)


def _new_pem() -> bytes:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _create(path: Path, content: bytes) -> None:
    """Make a file that only its owner may read, unless somebody else was faster."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _link(temporary, path)
    finally:
        temporary.unlink()


def _link(temporary: Path, path: Path) -> None:
    # A link never replaces what is there, as a rename would, and what it shows is written whole.
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def parse_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Read the PEM certificates of a `rootcertbundle`; raise `KeyUnusable` if there is none."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        raise KeyUnusable("it holds no PEM certificate, or one that can't be read") from None
    if len(found) > _MOST_KEYS:
        raise KeyUnusable(f"it holds more than {_MOST_KEYS} certificates")
    return tuple(found)


def parse_jwks(content: bytes) -> tuple[VerificationKey, ...]:
    """Read a JWK set; raise `KeyUnusable` if it is none, or holds no key to verify with.

    Keys of types that are not known are left out, as RFC 7517 (section 5) has it: among them
    shared secrets, with which no token is ever verified. So are those for encryption.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise KeyUnusable("it is no JSON") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise KeyUnusable('it is no JWK set: {"keys": [...]}')
    found = tuple(_parse_jwk(each) for each in listed if _is_for_verifying(each))
    if not found:
        raise KeyUnusable("it holds no key to verify tokens with")
    return found


def _is_for_verifying(jwk: object) -> bool:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return False
    return isinstance(jwk.get("kty"), str) and jwk["kty"] in _READERS


def _parse_jwk(jwk: dict[str, Any]) -> VerificationKey:
    # Only the members of a public key are looked at: a private one is no business of ours.
    public = {member: jwk.get(member, "") for member in _MEMBERS[jwk["kty"]].split()}
    name, algorithm = jwk.get("kid", ""), jwk.get("alg", "")
    if not all(isinstance(each, str) for each in (name, algorithm, *public.values())):
        raise KeyUnusable("a member of a key that should be text is not")
    try:
        key = _READERS[jwk["kty"]](public)
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm, InternalError):
        raise KeyUnusable("a key of the set can't be read") from None
    return VerificationKey.of(key, name, algorithm)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that tokens are verified with, and the certificates that vouch for others."""

    keys: tuple[VerificationKey, ...]
    roots: tuple[x509.Certificate, ...] = ()

    @staticmethod
    def of(keys: Iterable[VerificationKey] = (), roots: Sequence[x509.Certificate] = ()) -> Keyring:
        """Put keys together; those of the certificates sign tokens themselves, too.

        Raises `KeyUnusable` for a certificate with a key that can't be used.
        """
        return Keyring((*keys, *map(_certified, roots)), tuple(roots))

    @staticmethod
    def joined(rings: Iterable[Keyring]) -> Keyring:
        """Return all that is on any of them."""
        rings = tuple(rings)
        return Keyring(
            tuple(key for each in rings for key in each.keys),
            tuple(root for each in rings for root in each.roots),
        )

    def named(self, id: str) -> tuple[VerificationKey, ...]:
        """Return our keys of that name."""
        return tuple(key for key in self.keys if id in key.ids)

    def vouched_for(self, chain: object, now: float) -> VerificationKey:
        """Return the key of the first certificate of an `x5c` header (RFC 7515, section 4.1.6).

        Raises `KeyUnusable` unless the chain ends at one of our certificates at the time `now`.
        """
        if not self.roots:
            raise KeyUnusable("there is no certificate to verify a chain with")
        try:
            leaf, *others = _parse_chain(chain)
            self._verifier(now).verify(leaf, others)
            return _certified(leaf)
        except KeyUnusable:
            raise
        except Exception:
            # Anybody may send one, and what is raised for odd ones is no list that ends: TypeError
            # for a name of bits, for one.
            raise KeyUnusable("no certificate of ours vouches for the chain") from None

    def _verifier(self, now: float) -> verification.ClientVerifier:
        """Return what verifies a chain as for the web, but for what the leaf is to be used for."""
        return (
            verification.PolicyBuilder()
            .store(verification.Store(list(self.roots)))
            .time(datetime.fromtimestamp(now, UTC))
            .max_chain_depth(_LONGEST_CHAIN)
            .extension_policies(
                ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
                ee_policy=verification.ExtensionPolicy.permit_all(),
            )
            .build_client_verifier()
        )


def _certified(certificate: x509.Certificate) -> VerificationKey:
    try:
        return VerificationKey.of(certificate.public_key())
    except (UnsupportedAlgorithm, InternalError):
        raise KeyUnusable("a certificate has a key of a type that is not known") from None
    except ValueError as error:
        raise KeyUnusable(f"a certificate has a key that can't be used: {error}") from None


def _parse_chain(chain: object) -> list[x509.Certificate]:
    if not isinstance(chain, list) or not 1 <= len(chain) <= _LONGEST_CHAIN:
        raise KeyUnusable(f"a chain has one to {_LONGEST_CHAIN} certificates")
    try:
        return [
            x509.load_der_x509_certificate(base64.b64decode(each, validate=True)) for each in chain
        ]
    except (ValueError, TypeError, x509.InvalidVersion):
        raise KeyUnusable("a certificate of the chain can't be read") from None
