"""The keys that tokens are verified with: read from a JWK set, or from certificates.

Every key was named by the operator, or is our own. One that a token brings along is never used,
unless it comes in a certificate that one of the operator's certificates vouches for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.x509 import verification
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from registry_server.auth.keys import JWK_MEMBERS, KeyUnusable, VerificationKey

_MOST_KEYS = 1000
_LONGEST_CHAIN = 5

_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "EC": ECAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


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
            self._verifier(now).verify(leaf, _without_branches(others))
            return _certified(leaf)
        except KeyUnusable:
            raise
        except Exception:
            # Anybody may send one, and what is raised for odd ones is no list that ends: TypeError
            # for a name of bits, for one.
            raise KeyUnusable("no certificate of ours vouches for the chain") from None

    def _verifier(self, now: float) -> verification.ClientVerifier:
        """Return what verifies a chain by RFC 5280; extensions for the web are optional.

        A certificate authority made by `openssl req -x509` has no key usage extension.
        """
        return (
            verification.PolicyBuilder()
            .store(verification.Store(list(self.roots)))
            .time(datetime.fromtimestamp(now, UTC))
            .max_chain_depth(_LONGEST_CHAIN)
            .extension_policies(
                ca_policy=_AUTHORITY, ee_policy=verification.ExtensionPolicy.permit_all()
            )
            .build_client_verifier()
        )


def _is_authority(_: object, __: object, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("it is no certificate of an authority")


def _may_sign(_: object, __: object, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("its key may not sign certificates")


_AUTHORITY = (
    verification.ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, verification.Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, verification.Criticality.AGNOSTIC, _may_sign)
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


def _without_branches(others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return each certificate once; raise `KeyUnusable` if two have the same subject.

    The verifier would try both as issuers at each level: four certificates with one name and one
    key cost 256 signature checks, during which it holds the interpreter lock for 0.3 s or more.
    """
    different = list(dict.fromkeys(others))
    if len({certificate.subject for certificate in different}) < len(different):
        raise KeyUnusable("two certificates of the chain have the same subject")
    return different


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
    public = {member: jwk.get(member, "") for member in JWK_MEMBERS[jwk["kty"]].split()}
    name, algorithm = jwk.get("kid", ""), jwk.get("alg", "")
    if not all(isinstance(each, str) for each in (name, algorithm, *public.values())):
        raise KeyUnusable("a member of a key that should be text is not")
    try:
        key = _READERS[jwk["kty"]](public)
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm, InternalError):
        raise KeyUnusable("a key of the set can't be read") from None
    return VerificationKey.of(key, name, algorithm)
