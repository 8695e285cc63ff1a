"""Keys that change while tokens are verified: tokens of a removed key become invalid."""

from __future__ import annotations

import json
import logging
from asyncio import to_thread
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from registry_server.access.interfaces import Grants
from registry_server.access.refusals import TokenInvalid
from registry_server.access.tokens.bearer import TokenIssuer, TokenVerifier
from registry_server.access.tokens.keyring import Keyring, parse_certificates, parse_jwks
from registry_server.access.tokens.signing_keys import SigningKey, jwks
from registry_server.access.tokens.verifiers import ReloadingVerifier
from registry_server.files.watched_file import WatchedFile

ISSUER, SERVICE = "auth.example.com", "registry.example.com"


def new_key() -> tuple[ec.EllipticCurvePrivateKey, SigningKey]:
    """Create a key, and the key of a token server that signs with it."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, SigningKey.parse(pem)


(CERTIFIED, FIRST), (_, SECOND) = new_key(), new_key()


def token(key: SigningKey) -> str:
    """Sign a token that is valid for every verifier with the key."""
    return TokenIssuer(key, ISSUER).sign("ann", Grants({}, catalog=True), SERVICE).text


def jwk_set(*keys: SigningKey) -> bytes:
    """Return a JWK set of these keys."""
    return json.dumps(jwks([each.public for each in keys])).encode()


def bundle() -> bytes:
    """Return a bundle with a certificate of the first key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(CERTIFIED.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    return made.sign(CERTIFIED, hashes.SHA256()).public_bytes(Encoding.PEM)


def verifier(files: Sequence[WatchedFile[Keyring]]) -> ReloadingVerifier:
    """Return a verifier for the files."""
    return ReloadingVerifier(files, partial(TokenVerifier, issuer=ISSUER, service=SERVICE))


async def watch_jwks(path: Path, content: bytes) -> WatchedFile[Keyring]:
    """Write a JWK set and watch it, with a check at every use."""
    await to_thread(path.write_bytes, content)
    return await to_thread(WatchedFile, path, lambda read: Keyring.of(parse_jwks(read)), 0.0)


async def watch_bundle(path: Path, content: bytes) -> WatchedFile[Keyring]:
    """Write certificates and watch them, with a check at every use."""
    await to_thread(path.write_bytes, content)
    return await to_thread(
        WatchedFile, path, lambda read: Keyring.of(roots=parse_certificates(read)), 0.0
    )


async def holds(verifier: ReloadingVerifier, text: str) -> bool:
    """Tell whether a token is valid now."""
    now = await verifier.now()
    try:
        return now.verify(text).sub == "ann"
    except TokenInvalid:
        return False


async def test_a_removed_key_verifies_nothing(tmp_path: Path) -> None:
    """Nor a token that was verified before; tokens of the new key are valid."""
    path, old, new = tmp_path / "jwks", token(FIRST), token(SECOND)
    verifying = verifier([await watch_jwks(path, jwk_set(FIRST))])
    assert [await holds(verifying, each) for each in (old, old, new)] == [True, True, False]
    await to_thread(path.write_bytes, jwk_set(FIRST, SECOND))
    assert [await holds(verifying, each) for each in (old, new)] == [True, True]
    await to_thread(path.write_bytes, jwk_set(SECOND))
    assert [await holds(verifying, each) for each in (old, new)] == [False, True]


async def test_unchanged_keys_keep_their_cache(tmp_path: Path) -> None:
    """As long as the file does not change, one verifier caches the tokens of all requests."""
    verifying = verifier([await watch_jwks(tmp_path / "jwks", jwk_set(FIRST))])
    assert await verifying.now() is await verifying.now()


@pytest.mark.parametrize("broken", [b"", b"{", b'{"keys": []}'])
async def test_a_broken_edit_keeps_the_old_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes
) -> None:
    """The reason is logged once, and the next edit counts."""
    path, old = tmp_path / "jwks", token(FIRST)
    verifying = verifier([await watch_jwks(path, jwk_set(FIRST))])
    await to_thread(path.write_bytes, broken)
    with caplog.at_level(logging.ERROR):
        assert [await holds(verifying, old) for _ in range(3)] == [True] * 3
    assert len(caplog.records) == 1
    await to_thread(path.write_bytes, jwk_set(SECOND))
    assert not await holds(verifying, old)


async def test_the_keys_of_both_files_are_valid(tmp_path: Path) -> None:
    """A change of one file leaves the keys of the other."""
    keys, certificates = tmp_path / "jwks", tmp_path / "bundle"
    files = [
        await watch_jwks(keys, jwk_set(SECOND)),
        await watch_bundle(certificates, bundle()),
    ]
    first, second = token(FIRST), token(SECOND)
    verifying = verifier(files)
    assert [await holds(verifying, each) for each in (first, second)] == [True, True]
    await to_thread(certificates.write_bytes, b"no certificate")
    assert [await holds(verifying, each) for each in (first, second)] == [True, True]
    await to_thread(keys.write_bytes, jwk_set(new_key()[1]))
    assert [await holds(verifying, each) for each in (first, second)] == [True, False]
