"""Reads issuer, subject and validity period of a certificate (RFC 5280, section 4.1).

It parses DER itself, because importing `cryptography` costs each process 10 MiB.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

_VERSION = 0xA0  # [0] EXPLICIT, absent from certificates of version 1
_UTC_TIME = 0x17
_LONG_LENGTH = 0x80


@dataclass(frozen=True, slots=True)
class Facts:
    """Fields of a certificate; `issuer` and `subject` are encoded names, only for comparison."""

    issuer: bytes
    subject: bytes
    begins: datetime
    ends: datetime


def blocks(pem: bytes) -> list[bytes]:
    """Return the certificates of a PEM file in their order, each as PEM."""
    return _BLOCK.findall(pem)


def facts(pem: bytes) -> Facts | None:
    """Parse one certificate in PEM; return None if it is invalid."""
    try:
        return der_facts(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))
    except ValueError:
        return None


def der_facts(der: bytes) -> Facts | None:
    """Parse one certificate in DER; return None if it is invalid."""
    try:
        return _facts(der)
    except (ValueError, IndexError):
        return None


def _facts(der: bytes) -> Facts:
    _, at, _ = _element(der, 0)
    _, at, _ = _element(der, at)  # TBSCertificate
    tag, _, end = _element(der, at)
    at = end if tag == _VERSION else at
    values = []
    for _ in ("serial number", "algorithm", "issuer", "validity", "subject"):
        _, start, end = _element(der, at)
        values.append(der[start:end])
        at = end
    _, _, issuer, validity, subject = values
    tag, start, end = _element(validity, 0)
    begins = _time(tag, validity[start:end])
    tag, start, end = _element(validity, end)
    return Facts(issuer, subject, begins, _time(tag, validity[start:end]))


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element at `at`, and the start and end of its content."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & _LONG_LENGTH:
        size = length - _LONG_LENGTH
        length, start = int.from_bytes(der[start : start + size], "big"), start + size
    if start + length > len(der):
        raise ValueError("cut off")
    return tag, start, start + length


def _time(tag: int, text: bytes) -> datetime:
    written = text.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280, section 4.1.2.5.1; `%y` would map 50 to 68 to the wrong century.
        written = f"{'19' if written >= '50' else '20'}{written}"
    return datetime.strptime(written, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
