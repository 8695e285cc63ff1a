"""The client side of a connection: its TLS certificate, and the timeout for unacknowledged data."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import socket
import ssl
from dataclasses import dataclass
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from registry_server.http import refusals
from registry_server.http.extensions import CERTIFICATE_NAME
from registry_server.serving.tls import x509

logger = logging.getLogger(__name__)

_NO_LONGER_VALID = "the client certificate is no longer valid; connect again with one that is"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client certificate proves, and for how long.

    `name` is the common name; empty if the certificate has none or several. The proof is valid from
    `begins` until before `ends`, in seconds since the epoch: while every certificate of the chain
    is valid. `root` is the digest of the last certificate of the chain. After session resumption
    the chain is unknown: `root` is empty, and the period is that of the client certificate alone.
    """

    name: str
    begins: float
    ends: float
    root: bytes

    def holds(self, now: float) -> bool:
        """Return True if a handshake at `now` would accept the certificate."""
        return self.begins <= now < self.ends


# Never valid: for a connection that would no longer be accepted.
NO_PROOF = Proof("", math.inf, -math.inf, b"")


def proof(transport: asyncio.BaseTransport) -> Proof | None:
    """Return what the client certificate proves; None if the client sent none.

    The TLS context has already verified it against `http.tls.clientcas`.
    """
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    chain = _chain(tls)
    root = _digest(chain[-1]) if chain else b""
    certificates = chain or [tls.getpeercert(binary_form=True) or b""]
    facts = [fact for der in certificates if (fact := x509.der_facts(der)) is not None]
    if len(facts) < len(certificates):
        return NO_PROOF
    begins = max(fact.begins for fact in facts).timestamp()
    ends = min(fact.ends for fact in facts).timestamp()
    return Proof(_common_name(certificate), begins, ends, root)


@lru_cache(maxsize=1)
def roots(context: ssl.SSLContext) -> frozenset[bytes]:
    """Return the digests of all authorities that a context trusts; it must not change later."""
    return frozenset(map(_digest, context.get_ca_certs(binary_form=True)))


def still_accepted(proof: Proof | None, context: ssl.SSLContext) -> bool:
    """Return whether a newer context would accept the client of an existing connection."""
    if proof is None:
        return context.verify_mode != ssl.CERT_REQUIRED
    return proof.root in roots(context)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 403 because the client certificate is no longer valid; close the connection."""
    logger.info(
        "refused a request of %r: the client certificate is no longer valid",
        scope[CERTIFICATE_NAME],
    )
    closing = [(b"connection", b"close")]
    await refusals.refuse(scope, send, 403, "DENIED", _NO_LONGER_VALID, closing)


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """Return the verified chain in DER, the client's certificate first."""
    # Python 3.13 adds ssl.SSLObject.get_verified_chain.
    chain = tls._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain]


def _digest(certificate: bytes) -> bytes:
    return hashlib.sha256(certificate).digest()


def _common_name(certificate: dict[str, tuple[tuple[tuple[str, str], ...], ...]]) -> str:
    names = [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    return names[0] if len(names) == 1 and names[0].isprintable() else ""


def set_user_timeout(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Have the kernel end a connection whose client acknowledges no data for `seconds`.

    This covers a client that vanished and one with a zero window (RFC 5482; the latter since Linux
    5.11). There is no limit on other systems or on a unix socket.
    """
    connection: socket.socket | None = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is None or option is None or connection.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
