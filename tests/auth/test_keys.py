"""Keys are created once, have the ids of the standards, and are refused when they are weak."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.tokens.keyring import Keyring, parse_certificates, parse_jwks
from registry_server.access.tokens.signing_keys import (
    KeyUnusable,
    PrivateKey,
    SigningKey,
    VerificationKey,
    jwks,
    libtrust_id,
    load_or_create_signing_key,
    load_signing_key,
    thumbprint,
    to_jwk,
)
from tests.support.certificates import certificate
from tests.support.tools import require_tool, run

PROJECT = Path(__file__).resolve().parents[2]

# RFC 7638, section 3.1.
RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_B"
    "JECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY"
    "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lF"
    "d2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}

GOOD: dict[str, PrivateKey] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "RS256": rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
WEAK: dict[str, PrivateKey | dsa.DSAPrivateKey] = {
    "RSA of 1024 bits": rsa.generate_private_key(65537, 1024),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "P-224": ec.generate_private_key(ec.SECP224R1()),
    "DSA": dsa.generate_private_key(2048),
}


def pem(
    key: PrivateKey | dsa.DSAPrivateKey, secret: KeySerializationEncryption | None = None
) -> bytes:
    """Return a private key as PKCS8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret or NoEncryption())


def test_a_key_is_created_at_the_first_start_and_kept(tmp_path: Path) -> None:
    """Only its owner can read the file, the next start reads it, and no other file is left."""
    path = tmp_path / "token.key"
    made = load_or_create_signing_key(path)
    assert load_or_create_signing_key(path).id == load_signing_key(path).id == made.id
    assert made.algorithm == "ES256"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_that_create_the_key_agree(tmp_path: Path) -> None:
    """Workers that start concurrently sign with one key."""
    path = tmp_path / "token.key"
    code = (
        "import sys, pathlib\n"
        "from registry_server.access.tokens.signing_keys import load_or_create_signing_key\n"
        "sys.stdin.read(); print(load_or_create_signing_key(pathlib.Path(sys.argv[1])).id)"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.stdin = None
    ids = {worker.communicate()[0].strip() for worker in workers}
    assert ids == {load_signing_key(path).id}
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_create_the_key_agree(tmp_path: Path) -> None:
    """The second thread reads the key of the first and never replaces it."""
    for round in range(10):
        path, start = tmp_path / f"{round}.key", Barrier(6)
        with ThreadPoolExecutor(6) as pool:
            ids = set(pool.map(_created, [path] * 6, [start] * 6))
        assert ids == {load_signing_key(path).id}


def _created(path: Path, start: Barrier) -> str:
    start.wait()
    return load_or_create_signing_key(path).id


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """No folder is created for a secret."""
    with pytest.raises(FileNotFoundError):
        load_or_create_signing_key(tmp_path / "missing" / "token.key")


@pytest.mark.parametrize("algorithm", GOOD)
def test_a_given_key_signs_by_its_type(algorithm: str) -> None:
    """Each type signs with one algorithm, and the JWK set shows the public key."""
    key = SigningKey.parse(pem(GOOD[algorithm]))
    assert key.algorithm == algorithm
    assert key.public.algorithms == (algorithm,)
    (shown,) = jwks([key.public])["keys"]
    assert (shown["kid"], shown["use"], shown["alg"]) == (key.id, "sig", algorithm)
    assert not {"d", "p", "q", "k"} & shown.keys()
    (read,) = parse_jwks(json.dumps(jwks([key.public])).encode())
    assert read.ids == key.public.ids


@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_key_is_refused(kind: str) -> None:
    """Neither for signing nor for verifying."""
    with pytest.raises(KeyUnusable):
        SigningKey.parse(pem(WEAK[kind]))
    with pytest.raises(KeyUnusable):
        VerificationKey.of(WEAK[kind].public_key())


@pytest.mark.parametrize(
    "content",
    [b"", b"secret words", pem(GOOD["ES256"], BestAvailableEncryption(b"secret words"))],
)
def test_malformed_keys_are_refused_without_quoting_them(content: bytes) -> None:
    """The reason does not contain the content."""
    with pytest.raises(KeyUnusable) as caught:
        SigningKey.parse(content)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_signing_key_is_not_shown() -> None:
    """Its `repr` is its id."""
    key = SigningKey.parse(pem(GOOD["EdDSA"]))
    assert repr(key) == f"SigningKey({key.id})"


def test_the_thumbprint_follows_the_standard() -> None:
    """The example of RFC 7638 gives its result; the key also has its own id."""
    (key,) = parse_jwks(json.dumps({"keys": [RFC_7638]}).encode())
    assert thumbprint(key.key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert key.ids == {thumbprint(key.key), libtrust_id(key.key), "2011-04-29"}
    assert key.algorithms == ("RS256",)


def test_certificate_keys_have_the_ids_of_distribution(tmp_path: Path) -> None:
    """The id of a key is libtrust's, as openssl and base32 compute it."""
    path = certificate(tmp_path)
    key = Keyring.of(roots=parse_certificates(path.read_bytes())).keys[0]
    openssl = require_tool("openssl")
    public = run([openssl, "x509", "-in", str(path), "-pubkey", "-noout"])
    (tmp_path / "public.pem").write_text(str(public))
    run([openssl, "pkey", "-pubin", "-in", str(tmp_path / "public.pem"), "-outform", "DER",
         "-out", str(tmp_path / "public.der")])  # fmt: skip
    run([openssl, "dgst", "-sha256", "-binary", "-out", str(tmp_path / "digest"),
         str(tmp_path / "public.der")])  # fmt: skip
    text = base64.b32encode((tmp_path / "digest").read_bytes()[:30]).decode()
    groups = libtrust_id(key.key).split(":")
    assert "".join(groups) == text
    assert [len(group) for group in groups] == [4] * 12
    assert libtrust_id(key.key) in key.ids


@pytest.mark.parametrize("content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_bundle_without_a_certificate_is_refused(content: bytes) -> None:
    """An empty bundle would verify nothing."""
    with pytest.raises(KeyUnusable):
        parse_certificates(content)


def test_a_certificate_of_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """The operator gets one line and no traceback."""
    pem = certificate(tmp_path).read_text().splitlines()
    der = bytearray(base64.b64decode("".join(pem[1:-1])))
    der[der.index(b"\xa0\x03\x02\x01\x02") + 4] = 10  # RFC 5280, 4.1.2.1: version 3 is written 2
    odd = base64.encodebytes(der).decode()
    with pytest.raises(KeyUnusable, match="no PEM certificate"):
        parse_certificates(f"{pem[0]}\n{odd}{pem[-1]}\n".encode())


# A key of Ed448, and one that is no point of the curve; found by fuzzing: no ValueError is raised.
_NO_KEY = """-----BEGIN PRIVATE KEY-----
MEcCAQAwBQYDK2VwBDsEOanM92XO3qCPTfuU0fUcq3PYCE6vV+7FwitC2AqSnvPR
E3d8SXWvg+CM6WB2lMSwjmWItRz0tucJQQ==
-----END PRIVATE KEY-----
"""


def test_a_key_of_an_unknown_type_is_refused() -> None:
    """Also one that the libraries do not know: one line and no traceback."""
    with pytest.raises(KeyUnusable, match="not a PEM private key"):
        SigningKey.parse(_NO_KEY.encode())


def test_a_set_ignores_keys_that_verify_nothing() -> None:
    """Shared secrets, keys for encryption and unknown types are ignored."""
    good = to_jwk(VerificationKey.of(GOOD["ES256"].public_key()).key)
    others = [{"kty": "oct", "k": "c2VjcmV0"}, {**good, "use": "enc"}, {"kty": "new"}, 5]
    (key,) = parse_jwks(json.dumps({"keys": [*others, good]}).encode())
    assert key.algorithms == ("ES256",)
    with pytest.raises(KeyUnusable):
        parse_jwks(json.dumps({"keys": others}).encode())


@pytest.mark.parametrize("algorithm", ["HS256", "none", "RS256"])
def test_alg_adds_no_algorithm_to_a_key(algorithm: str) -> None:
    """It restricts the algorithms of a key: one of another type leaves none."""
    good = to_jwk(VerificationKey.of(GOOD["ES256"].public_key()).key)
    (key,) = parse_jwks(json.dumps({"keys": [{**good, "alg": algorithm}]}).encode())
    assert key.algorithms == ()


_VALUES = st.none() | st.integers() | st.text(max_size=50) | st.lists(st.integers(), max_size=2)
_JWKS = st.fixed_dictionaries(
    {"kty": st.sampled_from(["EC", "RSA", "OKP", "oct"])},
    optional={
        **dict.fromkeys(("n", "e", "x", "y", "kid", "alg", "use"), _VALUES),
        "crv": st.sampled_from(["P-256", "P-384", "Ed25519", "Ed448", "secp256k1"]) | _VALUES,
    },
)


@given(st.binary(max_size=200) | st.lists(_JWKS, max_size=3).map(lambda k: _dump({"keys": k})))
def test_no_jwk_set_raises_an_undeclared_error(content: bytes) -> None:
    """Any content is a set of keys, or is refused."""
    with contextlib.suppress(KeyUnusable):
        assert parse_jwks(content)


def _dump(document: object) -> bytes:
    return json.dumps(document).encode()


@given(st.lists(st.text(max_size=40) | st.integers(), max_size=7) | st.text() | st.none())
def test_no_chain_raises_an_undeclared_error(chain: object) -> None:
    """Any value of `x5c` is refused."""
    with pytest.raises(KeyUnusable):
        Keyring.of(roots=[]).key_from_chain(chain, 0)
