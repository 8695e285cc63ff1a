"""The key that signs tokens, its file, and the public keys that verify tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jwt
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from registry_server.files.atomic_file import edit_file

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
Jwk: TypeAlias = dict[str, str]

_SMALLEST_RSA = 2048
_LARGEST_FILE = 1 << 20

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

# The members of a thumbprint (RFC 7638, section 3.2; RFC 8037, section 2).
JWK_MEMBERS = {"EC": "crv kty x y", "RSA": "e kty n", "OKP": "crv kty x"}


class KeyUnusable(ValueError):
    """A key is malformed or too weak; the message never quotes the key."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, the ids that tokens may use for it, and the algorithms it may be used with."""

    key: PublicKey
    ids: frozenset[str]
    algorithms: tuple[str, ...]

    @staticmethod
    def of(key: object, name: str = "", algorithm: str = "") -> VerificationKey:
        """Return a verification key; `name` is an additional id, `algorithm` the only one allowed.

        Raises `KeyUnusable` for a weak key or one of an unknown type.
        """
        public, algorithms = _checked(key)
        ids = {thumbprint(public), libtrust_id(public)} | ({name} if name else set())
        if algorithm:
            algorithms = tuple(allowed for allowed in algorithms if allowed == algorithm)
        return VerificationKey(public, frozenset(ids), algorithms)


def _checked(key: object) -> tuple[PublicKey, tuple[str, ...]]:
    """Return a public key and the algorithms of its type."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise KeyUnusable(f"an RSA key must have at least {_SMALLEST_RSA} bits")
        return key, _RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name not in _CURVES:
            raise KeyUnusable("the curve of an EC key must be P-256, P-384 or P-521")
        return key, (_CURVES[key.curve.name],)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key, ("EdDSA",)
    raise KeyUnusable("a key must be EC, RSA or Ed25519")


def to_jwk(key: PublicKey) -> Jwk:
    """Return the public members of a JWK (RFC 7517), without an id."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {member: jwk[member] for member in JWK_MEMBERS[jwk["kty"]].split()}


def thumbprint(key: PublicKey) -> str:
    """Return the SHA-256 thumbprint of a key in base64url (RFC 7638)."""
    canonical = json.dumps(to_jwk(key), sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def libtrust_id(key: PublicKey) -> str:
    """Return the id that libtrust, and so CNCF distribution, gives a key of a certificate.

    It is 240 bits of the SHA-256 of the key's DER in base32, in twelve groups of four.
    """
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[at : at + 4] for at in range(0, len(text), 4))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key of the token server; `repr` does not show it."""

    private: PrivateKey
    algorithm: str
    id: str

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    @staticmethod
    def parse(pem: bytes) -> SigningKey:
        """Parse a private key in PEM without a passphrase, or raise `KeyUnusable`."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
            raise KeyUnusable("it is not a PEM private key without a passphrase") from None
        public, algorithms = _checked(private.public_key())
        # For mypy: the type of the public key has just been checked.
        assert isinstance(
            private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
        )
        return SigningKey(private, algorithms[0], thumbprint(public))

    @property
    def public(self) -> VerificationKey:
        """The key that verifies signatures of this one, limited to its algorithm."""
        return VerificationKey.of(self.private.public_key(), algorithm=self.algorithm)

    def sign(self, claims: Mapping[str, Any], typ: str) -> str:
        """Return a signed token with `claims` (RFC 7519, compact form)."""
        headers = {"kid": self.id, "typ": typ}
        return jwt.encode(dict(claims), self.private, self.algorithm, headers)


def jwks(keys: Iterable[VerificationKey]) -> dict[str, list[Jwk]]:
    """Return the JWK set of public keys (RFC 7517, section 5)."""
    entries = []
    for key in keys:
        jwk = {**to_jwk(key.key), "kid": thumbprint(key.key), "use": "sig"}
        entries.append(jwk | ({"alg": key.algorithms[0]} if len(key.algorithms) == 1 else {}))
    return {"keys": entries}


def load_signing_key(path: Path) -> SigningKey:
    """Read the signing key from a file (blocks); raise OSError or `KeyUnusable`."""
    with path.open("rb") as file:
        content = file.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise KeyUnusable("it is too large for a key")
    return SigningKey.parse(content)


def load_or_create_signing_key(path: Path) -> SigningKey:
    """Read the signing key from a file, and create the file if it is missing (blocks).

    Workers that start concurrently agree on one key: the file is created atomically, once.
    Raises OSError or `KeyUnusable`.
    """
    try:
        return load_signing_key(path)
    except FileNotFoundError:
        edit_file(path, lambda content: None if content else _new_pem())
        return load_signing_key(path)


def temporary_signing_key() -> SigningKey:
    """Return a new signing key that is not stored."""
    return SigningKey.parse(_new_pem())


def _new_pem() -> bytes:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
