"""The other side of a connection: what it has proved, and for how long it is waited for."""

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

from registry_server import refusals, x509

logger = logging.getLogger(__name__)

# Where a request's scope holds the name; ASGI's extension for TLS has the whole certificate, which
# nobody here asks for.
CERTIFIED = "registry.certified"

_NO_LONGER_VALID = "the client certificate is no longer valid; connect again with one that is"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a client's certificate proves, and for how long.

    `name` is its common name; empty without one, or with several. It holds from `begins` until
    before `ends`, in seconds since the epoch: the time in which each certificate of the chain is
    valid. `root` is the digest of the certificate that the chain ends with. After a session was
    resumed the chain is not known: then there is no root, and the client's own certificate counts.
    """

    name: str
    begins: float
    ends: float
    root: bytes

    def holds(self, now: float) -> bool:
        """Tell whether a handshake at this moment would accept it."""
        return self.begins <= now < self.ends


# Never holds: for a connection that would not be accepted any more.
NO_PROOF = Proof("", math.inf, -math.inf, b"")


def proof(transport: asyncio.BaseTransport) -> Proof | None:
    """Return what the client's certificate proves; None if it showed none.

    The context has verified it against `http.tls.clientcas`: else there is no connection.
    """
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
    chain = _chain(tls)
    root = _digest(chain[-1]) if chain else b""
    facts = [x509.der_facts(each) for each in chain or [tls.getpeercert(binary_form=True) or b""]]
    known = [each for each in facts if each is not None]
    if len(known) < len(facts):
        return NO_PROOF
    begins = max(each.begins for each in known).timestamp()
    ends = min(each.ends for each in known).timestamp()
    return Proof(_common_name(certificate), begins, ends, root)


@lru_cache(maxsize=1)
def roots(context: ssl.SSLContext) -> frozenset[bytes]:
    """Return the digests of all authorities that a context trusts; it must not change any more."""
    return frozenset(map(_digest, context.get_ca_certs(binary_form=True)))


def still_accepted(proof: Proof | None, context: ssl.SSLContext) -> bool:
    """Tell whether a context, made after the connection, would accept what its client proved."""
    if proof is None:
        return context.verify_mode != ssl.CERT_REQUIRED
    return proof.root in roots(context)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request because the client certificate is no longer valid; end the connection."""
    logger.info(
        "refused a request of %r: the client certificate is no longer valid", scope[CERTIFIED]
    )
    await refusals.refuse(send, 403, "DENIED", _NO_LONGER_VALID, [(b"connection", b"close")])


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """Return the certificates, DER, by which the client's was verified, its own first."""
    # ssl.SSLObject.get_verified_chain is this, from Python 3.13 on.
    chain = tls._sslobj.get_verified_chain() or ()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]


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


def give_up_after(transport: asyncio.BaseTransport, seconds: float) -> None:
    """Have the kernel end a connection whose other side takes nothing of what waits for it.

    That is so for one that is gone without a word, and for one that has its window shut (RFC 5482;
    for the latter since Linux 5.11). Nothing here needs to look. Elsewhere, and on a unix socket,
    there is no limit.
    """
    found: socket.socket | None = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if found is None or option is None or found.family == socket.AF_UNIX:
        return
    with contextlib.suppress(OSError):
        found.setsockopt(socket.IPPROTO_TCP, option, round(seconds * 1000))
