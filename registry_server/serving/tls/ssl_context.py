"""Builds the TLS context of `http.tls`."""

from __future__ import annotations

import ssl
from contextlib import suppress

from registry_server.config.cipher_suites import openssl_names
from registry_server.config.schema import Tls
from registry_server.serving.tls import pem_files, plain_http

_VERSIONS = {
    "tls1.0": ssl.TLSVersion.TLSv1,
    "tls1.1": ssl.TLSVersion.TLSv1_1,
    "tls1.2": ssl.TLSVersion.TLSv1_2,
    "tls1.3": ssl.TLSVersion.TLSv1_3,
}
# Python verifies every client certificate that it requests. distribution's request-client-cert
# accepts any; here a certificate that does not verify ends the connection, which is stricter. The
# configuration refuses require-any-client-cert.
_OPTIONAL = frozenset({"request-client-cert", "verify-client-cert-if-given"})

# OpenSSL's default ciphers, for certificates that distribution accepts and OpenSSL would refuse.
_FOR_WEAK = "DEFAULT:@SECLEVEL=0"

# ALPN protocols (RFC 7301); a client that offers only h2 gets no ALPN answer.
_SPOKEN = ("http/1.1",)


class TlsError(Exception):
    """TLS can't be served; the message names the configuration key, the file and the remedy."""


def context(tls: Tls) -> ssl.SSLContext | None:
    """Build the server's context; None if TLS is not configured.

    Raises `TlsError` for files that can't be read or don't match.
    """
    if tls.certificate is None or tls.key is None:
        return None
    made = plain_http.Context(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.minimumtls]
    made.set_alpn_protocols(_SPOKEN)
    try:
        if pem_files.is_weak(tls.certificate, tls.key):
            made.set_ciphers(_FOR_WEAK)
        # Without a password argument OpenSSL prompts on the terminal for an encrypted key.
        made.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise TlsError(pem_files.why_no_pair(tls.certificate, tls.key, error)) from None
    _restrict(made, tls)
    if tls.clientcas:
        _trust(made, tls)
    return made


def _trust(context: ssl.SSLContext, tls: Tls) -> None:
    for index, authority in enumerate(tls.clientcas):
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise TlsError(pem_files.why_no_authority(index, authority, error)) from None
    # A resumed session does not verify the certificate again, and in TLS 1.3 every resumption
    # issues the ticket for the next. In TLS 1.2 a session lasts two hours.
    context.num_tickets = 0
    optional = tls.clientauth in _OPTIONAL
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED


def warnings(tls: Tls) -> tuple[str, ...]:
    """Return a line for each property of the files that clients may refuse (blocks)."""
    with suppress(OSError):  # a file may be removed meanwhile
        return tuple(pem_files.warnings(tls))
    return ()


def _restrict(context: ssl.SSLContext, tls: Tls) -> None:
    """Offer only the configured cipher suites; those of TLS 1.3 are fixed, as in Go."""
    if not tls.ciphersuites:
        return
    names = openssl_names(tls.ciphersuites)
    if not names:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    try:
        context.set_ciphers(":".join(names))
    except ssl.SSLError:
        raise TlsError("http.tls.ciphersuites: OpenSSL has none of these suites") from None
