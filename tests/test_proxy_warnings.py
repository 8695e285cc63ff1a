"""The warning about an untrusted proxy that makes the URL for tokens wrong."""

from __future__ import annotations

import ipaddress
import logging

import pytest
from starlette.requests import HTTPConnection

from registry_server.http.proxies import Network
from registry_server.http.proxy_warnings import MOST_ADDRESSES
from registry_server.v2.urls import Urls

PROXY = "192.0.2.9"
HTTPS = ("x-forwarded-proto", "https")
TRUSTED: tuple[Network, ...] = (ipaddress.ip_network("10.0.0.0/8"),)


def realm(urls: Urls, *headers: tuple[str, str], peer: str = PROXY, host: str = "r.example") -> str:
    """Return the token URL of a challenge."""
    lines = [
        (b"host", host.encode()),
        *((name.encode(), value.encode()) for name, value in headers),
    ]
    scope = {"type": "http", "scheme": "http", "client": (peer, 1) if peer else None,
             "headers": lines, "http_version": "1.1"}  # fmt: skip
    return urls.absolute(HTTPConnection(scope), "/auth/token")


def test_the_warning_has_the_line_for_the_configuration(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each address: the proxy, the URL that clients get, and the line to add."""
    urls = Urls(trusted=TRUSTED)
    for _ in range(3):
        assert realm(urls, HTTPS) == "http://r.example/auth/token"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert 'http: {trustedproxies: ["10.0.0.0/8", "192.0.2.9"]}' in said
    assert "http://r.example" in said
    realm(urls, HTTPS, peer="2001:db8::1")
    assert 'http: {trustedproxies: ["10.0.0.0/8", "2001:db8::1"]}' in caplog.records[1].getMessage()


@pytest.mark.parametrize(
    "headers",
    [
        (HTTPS,),
        (("x-forwarded-host", "public.example"),),
        (("x-forwarded-proto", "http"), ("x-forwarded-host", "public.example")),
        (("forwarded", "for=198.51.100.1;proto=https"),),
    ],
)
def test_a_difference_is_logged(
    headers: tuple[tuple[str, str], ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Another scheme or another host, in either kind of header."""
    realm(Urls(), *headers)
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("urls", "headers"),
    [
        (Urls(), ()),
        (Urls(), (("x-forwarded-for", "198.51.100.1"), ("via", "1.1 a"), ("x-real-ip", "::1"))),
        (Urls(), (("x-forwarded-proto", "http"), ("x-forwarded-host", "r.example"))),
        (Urls(trusted=(ipaddress.ip_network(PROXY),)), (HTTPS,)),
        (Urls(host="https://r.example"), (HTTPS,)),
    ],
)
def test_no_difference_is_not_logged(
    urls: Urls, headers: tuple[tuple[str, str], ...], caplog: pytest.LogCaptureFixture
) -> None:
    """If the URL is the same, the proxy is trusted, or a host is configured."""
    realm(urls, *headers)
    assert caplog.records == []


def test_behind_a_unix_socket_the_line_has_the_word_unix(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It has no address to trust; with the word there is no warning."""
    realm(Urls(trusted=TRUSTED), HTTPS, peer="")
    assert 'http: {trustedproxies: ["10.0.0.0/8", "unix"]}' in caplog.text
    caplog.clear()
    assert realm(Urls(trusted=("unix",)), HTTPS, peer="") == "https://r.example/auth/token"
    assert caplog.records == []


def test_a_client_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """However many addresses forge the headers, the number of warnings is limited."""
    urls = Urls()
    for number in range(3 * MOST_ADDRESSES):
        realm(urls, HTTPS, ("x-forwarded-host", "x" * 1000), peer=f"203.0.113.{number}")
    assert len(caplog.records) == MOST_ADDRESSES
    assert "xxx" not in caplog.text
