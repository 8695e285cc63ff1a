"""Files of `http.tls` that can't be used: the line names the key, the file and the remedy."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509 as reference
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from registry_server.config.schema import Tls
from registry_server.config.validation import validated
from registry_server.serving.tls import ssl_context, x509
from tests.support.certificates import Authority, certificate
from tests.support.tools import require_tool, run

CERTIFICATE, KEY = "http.tls.certificate: {}/cert.pem ", "http.tls.key: {}/key.pem "


def openssl(folder: Path, *arguments: str) -> None:
    """Run openssl on the files of a folder."""
    names = [f"{folder}/{name}" if "." in name else name for name in arguments]
    run([require_tool("openssl"), *names])


def swap(folder: Path) -> None:
    """Exchange the two files."""
    shutil.move(folder / "cert.pem", folder / "other.pem")
    shutil.move(folder / "key.pem", folder / "cert.pem")
    shutil.move(folder / "other.pem", folder / "key.pem")


def another_key(folder: Path) -> None:
    """Put the key of another certificate there."""
    (folder / "other").mkdir()
    certificate(folder / "other")
    shutil.move(folder / "other/key.pem", folder / "key.pem")


def authority_first(folder: Path) -> None:
    """Put the certificate that signed in front of the server's."""
    signed = Authority.make(folder, "ca").issue("server").read_bytes()
    (folder / "cert.pem").write_bytes((folder / "ca.pem").read_bytes() + signed)
    (folder / "key.pem").write_bytes(signed)


def damaged(name: str) -> Callable[[Path], None]:
    """Lose half of the lines of a file."""

    def damage(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join([*lines[:2], *lines[-1:]]))

    return damage


def rewritten(name: str, content: bytes) -> Callable[[Path], object]:
    """Put other content into a file."""
    return lambda folder: (folder / name).write_bytes(content)


def removed(name: str) -> Callable[[Path], None]:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def a_folder(name: str) -> Callable[[Path], None]:
    """Put a folder in the place of a file."""

    def replace(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return replace


def encrypted(folder: Path) -> None:
    """Give the key a passphrase."""
    openssl(folder, "pkey", "-in", "key.pem", "-aes256", "-passout", "pass:x", "-out", "new.pem")
    shutil.move(folder / "new.pem", folder / "key.pem")


def encrypted_traditionally(folder: Path) -> None:
    """Give the key a passphrase in the form from before PKCS #8."""
    openssl(folder, "ec", "-in", "key.pem", "-aes256", "-passout", "pass:x", "-out", "new.pem")
    shutil.move(folder / "new.pem", folder / "key.pem")


def der(name: str, command: str) -> Callable[[Path], None]:
    """Turn a file into DER."""

    def convert(folder: Path) -> None:
        openssl(folder, command, "-in", name, "-outform", "der", "-out", "new.der")
        shutil.move(folder / "new.der", folder / name)

    return convert


def openssh(folder: Path) -> None:
    """Write the key in OpenSSH's format."""
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    form, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    content = key.private_bytes(serialization.Encoding.PEM, form, plain)
    (folder / "key.pem").write_bytes(content)


def write_expired(folder: Path) -> None:
    """Write a certificate of the key that held in January 2020."""
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = reference.Name([reference.NameAttribute(NameOID.COMMON_NAME, "old")])
    builder = reference.CertificateBuilder(
        name,
        name,
        key.public_key(),
        1,
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 2, 1, tzinfo=UTC),
    )
    made = builder.sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no certificate": (removed("cert.pem"), CERTIFICATE, "does not exist; correct the path"),
    "no key": (removed("key.pem"), KEY, "does not exist; correct the path"),
    "folder": (a_folder("cert.pem"), CERTIFICATE, "is a folder, not a file; Docker creates one"),
    "folder for the key": (a_folder("key.pem"), KEY, "is a folder, not a file; Docker creates one"),
    "empty": (rewritten("cert.pem", b"\n"), CERTIFICATE, "is empty"),
    "text": (rewritten("cert.pem", b"hello"), CERTIFICATE, "begins with -----BEGIN CERTIFICATE"),
    "text as key": (rewritten("key.pem", b"hello"), KEY, "begins with -----BEGIN PRIVATE KEY"),
    "request": (
        rewritten("cert.pem", b"-----BEGIN CERTIFICATE REQUEST-----\n"),
        CERTIFICATE,
        "holds a request; name the certificate",
    ),
    "DER": (der("cert.pem", "x509"), CERTIFICATE, "convert it: openssl x509 -inform der"),
    "DER key": (der("key.pem", "pkey"), KEY, "convert it: openssl pkey -inform der"),
    "swapped": (swap, CERTIFICATE, "are http.tls.certificate and http.tls.key swapped?"),
    "certificate twice": (
        lambda folder: shutil.copy(folder / "cert.pem", folder / "key.pem"),
        KEY,
        "holds a certificate and no private key; are",
    ),
    "another key": (another_key, KEY, "name the key that the certificate was made with"),
    "authority first": (authority_first, CERTIFICATE, "which is number 2; put the server's first"),
    "passphrase": (encrypted, KEY, "has a passphrase, which a server can't be asked for; remove"),
    "old passphrase": (encrypted_traditionally, KEY, "has a passphrase, which a server can't"),
    "OpenSSH": (openssh, KEY, "is in the format of OpenSSH; convert it: ssh-keygen"),
    "damaged certificate": (damaged("cert.pem"), CERTIFICATE, "copy the file again"),
    "damaged key": (damaged("key.pem"), KEY, "copy the file again"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_with_a_pair(tmp_path: Path, case: str) -> None:
    """Each kind of mistake has its remedy, and nothing of a key is shown."""
    certificate(tmp_path)
    secret = (tmp_path / "key.pem").read_text().splitlines()[1]
    spoil, where, words = CASES[case]
    spoil(tmp_path)
    with pytest.raises(ssl_context.TlsError) as raised:
        ssl_context.context(settings(tmp_path))
    said = str(raised.value)
    assert said.startswith(where.format(tmp_path))
    assert words in said
    assert secret not in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (removed("ca.pem"), "does not exist"),
        (a_folder("ca.pem"), "is a folder"),
        (rewritten("ca.pem", b""), "is empty"),
        (rewritten("ca.pem", b"-----BEGIN PRIVATE KEY-----"), "holds a private key and no cert"),
        (damaged("ca.pem"), "copy the file again"),
    ],
)
def test_what_is_wrong_with_an_authority(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    """The line says which of `clientcas` it is."""
    certificate(tmp_path)
    for name in ("good", "ca"):
        Authority.make(tmp_path, name)
    spoil(tmp_path)
    with pytest.raises(ssl_context.TlsError) as raised:
        ssl_context.context(settings(tmp_path, f"{tmp_path}/good.pem", f"{tmp_path}/ca.pem"))
    assert str(raised.value).startswith(f"http.tls.clientcas[1]: {tmp_path}/ca.pem ")
    assert words in str(raised.value)


def test_what_clients_refuse_is_a_warning(tmp_path: Path) -> None:
    """An expired certificate and a chain out of order are served, as distribution serves them."""
    assert ssl_context.warnings(settings(tmp_path)) == ()
    certificate(tmp_path)
    assert ssl_context.warnings(settings(tmp_path)) == ()
    ours, other = (Authority.make(tmp_path, name) for name in ("ours", "other"))
    write_expired(tmp_path)
    (expired,) = ssl_context.warnings(settings(tmp_path))
    assert expired.startswith(CERTIFICATE.format(tmp_path))
    assert "expired at 2020-02-01 00:00 UTC, and clients refuse it; renew it" in expired
    signed = ours.issue("server").read_bytes()
    (tmp_path / "key.pem").write_bytes(signed)
    for authority, count in ((ours, 0), (other, 1)):
        above = authority.certificate.public_bytes(serialization.Encoding.PEM)
        (tmp_path / "cert.pem").write_bytes(signed + above)
        found = ssl_context.warnings(settings(tmp_path))
        assert len(found) == count
        assert all("certificate 2 did not sign certificate 1" in each for each in found)
        assert ssl_context.context(settings(tmp_path)) is not None


def test_a_weak_key_is_served_with_a_warning(tmp_path: Path) -> None:
    """OpenSSL refuses an RSA key of 1024 bits, which distribution serves with."""
    openssl(
        tmp_path, "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak",
        "-keyout", "key.pem", "-out", "cert.pem",
    )  # fmt: skip
    assert isinstance(ssl_context.context(settings(tmp_path)), ssl.SSLContext)
    (warning,) = ssl_context.warnings(settings(tmp_path))
    assert warning.startswith(CERTIFICATE.format(tmp_path))
    assert "weak" in warning


def test_facts_are_those_of_a_whole_parser(tmp_path: Path) -> None:
    """For certificates of two kinds; what is cut off has none."""
    found = [certificate(tmp_path), Authority.make(tmp_path, "ca").issue("server")]
    for path in found:
        (block,) = x509.blocks(path.read_bytes())
        facts, expected = x509.facts(block), reference.load_pem_x509_certificate(block)
        assert facts is not None
        assert facts.issuer in expected.issuer.public_bytes()
        assert facts.subject in expected.subject.public_bytes()
        assert facts.begins == expected.not_valid_before_utc
        assert facts.ends == expected.not_valid_after_utc
        lines = block.splitlines()
        assert x509.facts(b"\n".join([lines[0], lines[1], lines[-1]])) is None


@pytest.mark.parametrize(
    ("begins", "ends"), [(1950, 2049), (1968, 2050), (1969, 2068), (2049, 9999)]
)
def test_the_years_of_a_certificate_are_those_of_its_standard(begins: int, ends: int) -> None:
    """Two digits are a year from 1950 to 2049, and later years have four."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = reference.Name([reference.NameAttribute(NameOID.COMMON_NAME, "old")])
    made = (
        reference.CertificateBuilder(name, name, key.public_key(), serial_number=1)
        .not_valid_before(datetime(begins, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(ends, 12, 31, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    facts = x509.der_facts(made.public_bytes(serialization.Encoding.DER))
    assert facts is not None
    assert (facts.begins.year, facts.ends.year) == (begins, ends)


def settings(folder: Path, *authorities: str) -> Tls:
    """Return settings that name the files of a folder."""
    files = {"certificate": f"{folder}/cert.pem", "key": f"{folder}/key.pem"}
    return validated(Tls, files | {"clientcas": authorities})
