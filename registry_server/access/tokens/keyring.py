"""The keys that verify tokens, read from a JWK set or from certificates.

Every key is configured by the operator or is this registry's own. A key in the header of a token is
never used, except one in a certificate that chains to a configured certificate.
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

from registry_server.access.tokens.signing_keys import JWK_MEMBERS, KeyUnusable, VerificationKey

_MOST_KEYS = 1000
_LONGEST_CHAIN = 5

_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "EC": ECAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys that verify tokens, and the root certificates for chains in token headers."""

    keys: tuple[VerificationKey, ...]
    roots: tuple[x509.Certificate, ...] = ()

    @staticmethod
    def of(keys: Iterable[VerificationKey] = (), roots: Sequence[x509.Certificate] = ()) -> Keyring:
        """Return a keyring of `keys` and the keys of `roots`, which may sign tokens themselves.

        Raises `KeyUnusable` for a certificate with a key that can't be used.
        """
        return Keyring((*keys, *map(_certified, roots)), tuple(roots))

    @staticmethod
    def union(rings: Iterable[Keyring]) -> Keyring:
        """Return the union of several keyrings."""
        rings = tuple(rings)
        return Keyring(
            tuple(key for ring in rings for key in ring.keys),
            tuple(root for ring in rings for root in ring.roots),
        )

    def with_id(self, id: str) -> tuple[VerificationKey, ...]:
        """Return the keys with that id."""
        return tuple(key for key in self.keys if id in key.ids)

    def key_from_chain(self, chain: object, now: float) -> VerificationKey:
        """Return the key of the first certificate of an `x5c` header (RFC 7515, section 4.1.6).

        Raises `KeyUnusable` unless the chain ends at a root certificate and is valid at `now`.
        """
        if not self.roots:
            raise KeyUnusable("no root certificate is configured to verify a chain with")
        try:
            leaf, *others = _parse_chain(chain)
            self._verifier(now).verify(leaf, _without_branches(others))
            return _certified(leaf)
        except KeyUnusable:
            raise
        except Exception:
            # Any client can send a chain, and malformed ones raise exceptions of many types, such
            # as TypeError for a name that is a bit string.
            raise KeyUnusable("no configured certificate vouches for the chain") from None

    def _verifier(self, now: float) -> verification.ClientVerifier:
        """Return a verifier of chains by RFC 5280, without the requirements of web certificates.

        An authority made by `openssl req -x509` has no key usage extension.
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


def _is_authority(_: object, __: object, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("it is not a certificate of an authority")


def _may_sign(_: object, __: object, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
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
        raise KeyUnusable("a certificate has a key of an unknown type") from None
    except ValueError as error:
        raise KeyUnusable(f"a certificate has an unusable key: {error}") from None


def _parse_chain(chain: object) -> list[x509.Certificate]:
    if not isinstance(chain, list) or not 1 <= len(chain) <= _LONGEST_CHAIN:
        raise KeyUnusable(f"a chain has one to {_LONGEST_CHAIN} certificates")
    try:
        return [
            x509.load_der_x509_certificate(base64.b64decode(der, validate=True)) for der in chain
        ]
    except (ValueError, TypeError, x509.InvalidVersion):
        raise KeyUnusable("a certificate of the chain is malformed") from None


def _without_branches(others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Return each certificate once; raise `KeyUnusable` if two have the same subject.

    The verifier would try both as issuers at each level: four certificates with the same name and
    key cost 256 signature checks, and it holds the interpreter lock for 0.3 s or more.
    """
    different = list(dict.fromkeys(others))
    if len({certificate.subject for certificate in different}) < len(different):
        raise KeyUnusable("two certificates of the chain have the same subject")
    return different


def parse_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Parse the PEM certificates of a `rootcertbundle`; raise `KeyUnusable` if there is none."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except (ValueError, x509.InvalidVersion):
        raise KeyUnusable("it has no PEM certificate, or a malformed one") from None
    if len(certificates) > _MOST_KEYS:
        raise KeyUnusable(f"it has more than {_MOST_KEYS} certificates")
    return tuple(certificates)


def parse_jwks(content: bytes) -> tuple[VerificationKey, ...]:
    """Parse a JWK set; raise `KeyUnusable` if it is malformed or has no key for verifying.

    Keys of unknown types are ignored (RFC 7517, section 5), and so are keys for encryption. Shared
    secrets count as unknown: they never verify a token.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise KeyUnusable("it is not JSON") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
        raise KeyUnusable('it is not a JWK set: {"keys": [...]}')
    keys = tuple(_parse_jwk(jwk) for jwk in entries if _is_for_verifying(jwk))
    if not keys:
        raise KeyUnusable("it has no key for verifying tokens")
    return keys


def _is_for_verifying(jwk: object) -> bool:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig":
        return False
    return isinstance(jwk.get("kty"), str) and jwk["kty"] in _READERS


def _parse_jwk(jwk: dict[str, Any]) -> VerificationKey:
    # Only the members of a public key are read, also if the set has private keys.
    public = {member: jwk.get(member, "") for member in JWK_MEMBERS[jwk["kty"]].split()}
    name, algorithm = jwk.get("kid", ""), jwk.get("alg", "")
    if not all(isinstance(value, str) for value in (name, algorithm, *public.values())):
        raise KeyUnusable("a member of a key is not a string")
    try:
        key = _READERS[jwk["kty"]](public)
    except (jwt.PyJWTError, ValueError, UnsupportedAlgorithm, InternalError):
        raise KeyUnusable("a key of the set is malformed") from None
    return VerificationKey.of(key, name, algorithm)
