"""What the server and a client agree on: which TLS, and which HTTP. No socket lies between them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from registry_server.config.schema import Tls
from registry_server.config.validation import validated
from registry_server.serving.tls import ssl_context
from tests.support.certificates import certificate

# Flights of a handshake, and some to spare.
ENOUGH = 5


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Make a certificate, and the settings that name it."""
    return {"certificate": str(certificate(tmp_path)), "key": str(tmp_path / "key.pem")}


def speaking(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the context of a client that speaks that version alone, however old it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # OpenSSL has old versions only where nothing is asked of their strength.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


def agreed(settings: Mapping[str, object], client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands; return the server's side, or raise what it says against it."""
    made = ssl_context.context(validated(Tls, settings))
    assert made is not None
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = made.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server)
    for _ in range(ENOUGH):
        for side in (asking, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return server


@pytest.mark.parametrize(
    ("minimum", "too_old", "oldest"),
    [
        ({}, ssl.TLSVersion.TLSv1_1, "TLSv1.2"),
        ({"minimumtls": "tls1.2"}, ssl.TLSVersion.TLSv1_1, "TLSv1.2"),
        ({"minimumtls": "tls1.3"}, ssl.TLSVersion.TLSv1_2, "TLSv1.3"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_the_oldest_version(
    files: dict[str, str], minimum: dict[str, str], too_old: ssl.TLSVersion, oldest: str
) -> None:
    """It is spoken, and the one before is refused because of its version."""
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        agreed(files | minimum, speaking(too_old))
    spoken = speaking(ssl.TLSVersion[oldest.replace(".", "_")])
    assert agreed(files | minimum, spoken).version() == oldest


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), (["http/1.1"], "http/1.1"), ([], None)],
)
def test_http_2_is_never_agreed_on(
    files: dict[str, str], offered: list[str], chosen: str | None
) -> None:
    """Whatever a client offers by ALPN, HTTP/1.1 is what it is told, or nothing."""
    client = speaking(ssl.TLSVersion.TLSv1_3)
    if offered:
        client.set_alpn_protocols(offered)
    server = agreed(files, client)
    assert server.version() == "TLSv1.3"
    assert server.selected_alpn_protocol() == chosen


ECDSA = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
OPENSSL = ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256")


@pytest.mark.parametrize(("suite", "offered"), [*zip(ECDSA, OPENSSL, strict=True)])
def test_only_the_configured_cipher_suites_are_offered(
    files: dict[str, str], suite: str, offered: str
) -> None:
    """A client that speaks TLS 1.2 gets the one that is named, and nothing with another one."""
    settings = {**files, "ciphersuites": [suite]}
    server = agreed(settings, speaking(ssl.TLSVersion.TLSv1_2))
    assert (server.cipher() or ("",))[0] == offered
    client = speaking(ssl.TLSVersion.TLSv1_2)
    (other,) = {*OPENSSL} - {offered}
    client.set_ciphers(other)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        agreed(settings, client)
    assert agreed(settings, speaking(ssl.TLSVersion.TLSv1_3)).version() == "TLSv1.3"


def test_with_suites_of_tls_1_3_alone_nothing_older_is_spoken(files: dict[str, str]) -> None:
    """As in distribution, which then has no suite for TLS 1.2."""
    settings = {**files, "ciphersuites": ["TLS_AES_128_GCM_SHA256"]}
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        agreed(settings, speaking(ssl.TLSVersion.TLSv1_2))
    assert agreed(settings, speaking(ssl.TLSVersion.TLSv1_3)).version() == "TLSv1.3"


def test_a_suite_that_does_not_exist_is_an_error() -> None:
    """As in distribution; the message shows what a name looks like."""
    with pytest.raises(ValueError, match="must be a Go cipher suite, such as TLS_ECDHE"):
        validated(Tls, {"ciphersuites": ["AES"]})
