"""Certificates for servers that tests start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.tools import require_tool, run

_DAY = timedelta(days=1)


def certificate(folder: Path) -> Path:
    """Make a self-signed certificate for 127.0.0.1; its key is in the same folder."""
    made = folder / "cert.pem"
    run(
        [require_tool("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2",
         "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem"),
         "-out", str(made)]
    )  # fmt: skip
    return made


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates and writes them, each followed by its key, to files."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @staticmethod
    def make(folder: Path, name: str) -> Authority:
        """Make an authority whose certificate is `name`.pem in the folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _authority(folder, key, _builder(name, name, key), key)

    @property
    def name(self) -> str:
        """Return its common name."""
        return self.certificate.subject.rfc4514_string().removeprefix("CN=")

    def make_below(self, name: str, lasts: timedelta = _DAY) -> Authority:
        """Make an intermediate authority, certified by this one."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _authority(self.folder, key, _builder(name, self.name, key, lasts), self.key)

    def issue(self, name: str, address: str = "127.0.0.1", lasts: timedelta = _DAY) -> Path:
        """Make a certificate for a user, or for the server at an address, followed by its key.

        The address may be a host name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self.name
        served = x509.SubjectAlternativeName([_served_at(address)])
        made = _builder(name, issuer, key, lasts).add_extension(served, False)
        pem = made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path = self.folder / f"{name}-of-{issuer}.pem"
        path.write_bytes(pem + private)
        return path


def _served_at(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _authority(
    folder: Path,
    key: ec.EllipticCurvePrivateKey,
    builder: x509.CertificateBuilder,
    signing: ec.EllipticCurvePrivateKey,
) -> Authority:
    made = builder.add_extension(x509.BasicConstraints(True, None), True)
    authority = Authority(folder, key, made.sign(signing, hashes.SHA256()))
    pem = authority.certificate.public_bytes(serialization.Encoding.PEM)
    (folder / f"{authority.name}.pem").write_bytes(pem)
    return authority


def _builder(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, lasts: timedelta = _DAY
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + lasts)
    )
