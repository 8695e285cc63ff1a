"""Explains problems of the files of `http.tls`: one line with key, file and remedy."""

from __future__ import annotations

import errno
import itertools
import os
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from registry_server.config.schema import Tls
from registry_server.serving.tls import x509
from storage.errors import reason_of

_CERTIFICATE = "http.tls.certificate"
_KEY = "http.tls.key"

_LABEL = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_PRIVATE = b"PRIVATE KEY"
_ENCRYPTED = (b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
_SEQUENCE = b"\x30"  # the first byte of every key or certificate in DER

_WEAK = frozenset({"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"})

_SWAPPED = f"; are {_CERTIFICATE} and {_KEY} swapped?"
_FOLDER = (
    "is a folder, not a file; Docker creates one if the file to mount is missing: "
    "correct the path on the host and remove the folder"
)
_REASONS = {
    errno.ENOENT: "does not exist; correct the path, or mount the file there",
    errno.EISDIR: _FOLDER,
}


def why_no_pair(certificate: Path, key: Path, error: OSError) -> str:
    """Return why loading a certificate and its key failed with `error`."""
    problem = _of_certificate(certificate) or _of_key(key)
    if problem is not None:
        return problem
    reason = getattr(error, "reason", None) or reason_of(error)
    if "MISMATCH" in reason:
        return _of_mismatch(certificate, key)
    broken = (_KEY, key) if _is_sound(certificate) else (_CERTIFICATE, certificate)
    return _message(*broken, f"can't be read as PEM ({reason}); copy the file again")


def why_no_authority(index: int, path: Path, error: OSError) -> str:
    """Return why loading an authority's certificates failed with `error`."""
    where = _authority(index)
    problem = _unreadable(where, path) or _no_certificate(where, path, "")
    reason = getattr(error, "reason", None) or reason_of(error)
    return problem or _message(where, path, f"can't be read as PEM ({reason}); copy the file again")


def is_weak(certificate: Path, key: Path) -> bool:
    """Return True if OpenSSL refuses a pair only for the strength of a key or a signature."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        return error.reason in _WEAK
    return False


def warnings(tls: Tls) -> Iterator[str]:
    """Yield the reasons why clients may refuse files that the server can load."""
    if tls.certificate is None or tls.key is None:
        return
    if is_weak(tls.certificate, tls.key):
        problem = "or its key is weak (RSA below 2048 bits, or signed with SHA-1), and clients may"
        yield _message(_CERTIFICATE, tls.certificate, f"{problem} refuse it; renew it")
    yield from _dates(_CERTIFICATE, tls.certificate)
    yield from _order(tls.certificate)
    for index, path in enumerate(tls.clientcas):
        yield from _dates(_authority(index), path)


def _message(where: str, path: Path, problem: str) -> str:
    return f"{where}: {path} {problem}"


def _authority(index: int) -> str:
    return f"http.tls.clientcas[{index}]"


def _of_certificate(path: Path) -> str | None:
    return _unreadable(_CERTIFICATE, path) or _no_certificate(_CERTIFICATE, path, _SWAPPED)


def _of_key(path: Path) -> str | None:
    return _unreadable(_KEY, path) or _no_key(path)


def _unreadable(where: str, path: Path) -> str | None:
    try:
        path.read_bytes()
    except PermissionError:
        problem = f"can't be read by user {os.geteuid()}; change its owner or its mode"
    except OSError as error:
        problem = _REASONS.get(error.errno or 0) or f"can't be read: {reason_of(error)}"
    else:
        return None
    return _message(where, path, problem)


def _no_certificate(where: str, path: Path, if_key: str) -> str | None:
    content = path.read_bytes()
    labels = _LABEL.findall(content)
    if any(label.endswith(b"CERTIFICATE") for label in labels):
        return None
    if any(label.endswith(_PRIVATE) for label in labels):
        return _message(where, path, f"holds a private key and no certificate{if_key}")
    if b"CERTIFICATE REQUEST" in labels:
        return _message(where, path, "holds a request; name the certificate that was issued for it")
    command = f"openssl x509 -inform der -in {path} -out NEW"
    return _message(where, path, _no_pem(content, "certificate", "CERTIFICATE", command))


def _no_key(path: Path) -> str | None:
    content = path.read_bytes()
    labels = _LABEL.findall(content)
    if any(mark in content for mark in _ENCRYPTED):
        command = f"openssl pkey -in {path} -out NEW"
        problem = f"has a passphrase, which a server can't be asked for; remove it: {command}"
        return _message(_KEY, path, problem)
    if b"OPENSSH PRIVATE KEY" in labels:
        command = f"ssh-keygen -p -m PEM -f {path}"
        return _message(_KEY, path, f"is in the format of OpenSSH; convert it: {command}")
    if any(label.endswith(_PRIVATE) for label in labels):
        return None
    if b"CERTIFICATE" in labels:
        return _message(_KEY, path, f"holds a certificate and no private key{_SWAPPED}")
    command = f"openssl pkey -inform der -in {path} -out NEW"
    return _message(_KEY, path, _no_pem(content, "private key", "PRIVATE KEY", command))


def _no_pem(content: bytes, what: str, label: str, command: str) -> str:
    if not content.strip():
        return "is empty"
    if content.startswith(_SEQUENCE):
        return f"is not PEM; if it is DER, convert it: {command}"
    return f"holds no {what} in PEM, which begins with -----BEGIN {label}-----"


def _of_mismatch(certificate: Path, key: Path) -> str:
    for number, block in enumerate(x509.blocks(certificate.read_bytes())[1:], start=2):
        if _fits(block, key):
            problem = f"begins with another certificate than the server's, which is number {number}"
            return _message(_CERTIFICATE, certificate, f"{problem}; put the server's first")
    problem = f"is not the key of the certificate in {certificate}"
    remedy = "name the key that the certificate was made with"
    return _message(_KEY, key, f"{problem}; {remedy}")


def _fits(block: bytes, key: Path) -> bool:
    """Return True if the key in a file matches one certificate in PEM."""
    # OpenSSL reads certificates only from files, and there may be no writable folder.
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, block)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", key, password="")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_sound(certificate: Path) -> bool:
    """Return True if every certificate of a file can be parsed."""
    blocks = x509.blocks(certificate.read_bytes())
    return bool(blocks) and all(x509.facts(block) is not None for block in blocks)


def _dates(where: str, path: Path) -> Iterator[str]:
    now = datetime.now(UTC)
    for number, block in enumerate(x509.blocks(path.read_bytes()), start=1):
        facts = x509.facts(block)
        which = "" if number == 1 else f" (certificate {number} of the file)"
        if facts is not None and facts.ends < now:
            problem = f"expired at {facts.ends:%Y-%m-%d %H:%M} UTC{which}, and clients refuse it"
            yield _message(where, path, f"{problem}; renew it")
        elif facts is not None and facts.begins > now:
            problem = f"is not valid before {facts.begins:%Y-%m-%d %H:%M} UTC{which}"
            yield _message(where, path, f"{problem}; is the clock of this machine right?")


def _order(path: Path) -> Iterator[str]:
    chain = [x509.facts(block) for block in x509.blocks(path.read_bytes())]
    for number, (signed, signer) in enumerate(itertools.pairwise(chain), start=1):
        if signed is not None and signer is not None and signed.issuer != signer.subject:
            problem = f"is not in order: certificate {number + 1} did not sign certificate {number}"
            remedy = "put the server's first, and after each the one that signed it"
            yield _message(_CERTIFICATE, path, f"{problem}, and some clients refuse that; {remedy}")
