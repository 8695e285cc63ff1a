"""TLS as `http.tls` describes it."""

from __future__ import annotations

import ssl

from registry_server.config.schema import Tls
from storage.errors import reason_of

_VERSIONS = {
    "tls1.0": ssl.TLSVersion.TLSv1,
    "tls1.1": ssl.TLSVersion.TLSv1_1,
    "tls1.2": ssl.TLSVersion.TLSv1_2,
    "tls1.3": ssl.TLSVersion.TLSv1_3,
}
# Python verifies every certificate it asks for. distribution's request-client-cert takes any; here
# one that does not verify ends the connection, which is stricter and never laxer. The
# configuration refuses require-any-client-cert.
_OPTIONAL = frozenset({"request-client-cert", "verify-client-cert-if-given"})

# What is spoken, in the words of ALPN (RFC 7301); who offers h2 alone is told nothing.
_SPOKEN = ("http/1.1",)


def context(tls: Tls) -> ssl.SSLContext | None:
    """Build the context to serve with; None when TLS is not configured.

    Raises OSError (ssl.SSLError among them) for files that can't be read or don't fit.
    """
    if tls.certificate is None or tls.key is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.minimumtls]
    made.set_alpn_protocols(_SPOKEN)
    # Without a password OpenSSL would ask the terminal for that of an encrypted key, and wait.
    made.load_cert_chain(tls.certificate, tls.key, password="")
    if tls.clientcas:
        for authority in tls.clientcas:
            made.load_verify_locations(authority)
        optional = tls.clientauth in _OPTIONAL
        made.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    return made


def why_not(error: OSError) -> str:
    """Say why `context` could not be built."""
    return getattr(error, "reason", None) or reason_of(error)
