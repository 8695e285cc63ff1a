"""The URL for tokens depends on headers of a request only as far as they are trusted.

Generated headers of proxies come from a trusted address, another address, and a unix socket.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection
from starlette.types import Scope

from registry_server.config import Settings
from registry_server.config.validation import validated
from registry_server.http.clients import client_address
from registry_server.http.proxies import TrustedProxy
from registry_server.v2.urls import Urls

Line: TypeAlias = tuple[bytes, bytes]

NETWORK: Final = ipaddress.ip_network("10.0.0.0/8")
PROXY, OTHER, OVER_UNIX = ("10.0.0.1", 1), ("192.0.2.9", 1), None
PUBLIC = "registry.example.com"
EVIL = "evil.example"
TOKEN = "/auth/token"

_NAMES = [b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-for", b"forwarded", b"host",
          b"x-real-ip", b"via", b"x-forwarded-port", b"x-forwarded-server"]  # fmt: skip
_PIECES = st.sampled_from(
    [EVIL, PUBLIC, "https", "http", "wss", "10.0.0.2", "192.0.2.7", "unix", "unix:", "for=",
     "host=", "proto=", ",", ";", '"', "\\", " ", "", "@", "/", ":81", "#", "?", "\t", "[::1]",
     "\xff"]
)  # fmt: skip
_VALUES = st.lists(_PIECES, max_size=8).map("".join) | st.text(st.characters(max_codepoint=255))
LINES = st.lists(
    st.tuples(st.sampled_from(_NAMES), _VALUES.map(lambda text: text.encode("latin-1"))), max_size=6
)
PEERS = st.sampled_from([PROXY, OTHER, OVER_UNIX])
TRUSTED = st.sampled_from([(), (NETWORK,), ("unix",), (NETWORK, "unix")])


def connection(peer: tuple[str, int] | None, lines: Sequence[Line]) -> HTTPConnection:
    """Return a request as the server passes it on."""
    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "http_version": "1.1",
        "client": peer,
        "headers": list(lines),
    }
    return HTTPConnection(scope)


def set_by_proxy(lines: Sequence[Line]) -> list[Line]:
    """Return a client's headers as the proxy of docs/nginx.md passes them on."""
    ours = {b"host", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"}
    return [
        *(line for line in lines if line[0] not in ours),
        (b"host", PUBLIC.encode()),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", PUBLIC.encode()),
    ]


@given(lines=LINES, peer=PEERS, trusted=TRUSTED)
@example(lines=[(b"x-forwarded-host", EVIL.encode())], peer=OVER_UNIX, trusted=("unix",))
@example(lines=[(b"host", EVIL.encode())], peer=OTHER, trusted=())
def test_a_configured_host_is_always_used(
    lines: list[Line], peer: tuple[str, int] | None, trusted: tuple[TrustedProxy, ...]
) -> None:
    """With `http.host` the URL for tokens has that host: for our server, and with autoredirect."""
    urls = Urls(host=f"https://{PUBLIC}", trusted=trusted)
    asked = connection(peer, lines)
    assert urls.absolute(asked, TOKEN) == f"https://{PUBLIC}{TOKEN}"
    assert urls.secure(asked, TOKEN) in {f"{scheme}://{PUBLIC}{TOKEN}" for scheme in
                                         ("https", "http")}  # fmt: skip


@given(lines=LINES, peer=PEERS, trusted=TRUSTED)
@example(lines=[(b"x-forwarded-proto", b"https")], peer=OVER_UNIX, trusted=(NETWORK,))
def test_an_untrusted_peer_changes_nothing(
    lines: list[Line], peer: tuple[str, int] | None, trusted: tuple[TrustedProxy, ...]
) -> None:
    """URL and address are the same as without the headers of proxies."""
    if (peer == PROXY and NETWORK in trusted) or (peer is OVER_UNIX and "unix" in trusted):
        return
    bare = connection(peer, [line for line in lines if line[0] == b"host"])
    asked, urls = connection(peer, lines), Urls(trusted=trusted)
    assert urls.absolute(asked, TOKEN) == urls.absolute(bare, TOKEN)
    assert urls.secure(asked, TOKEN) == urls.secure(bare, TOKEN)
    own = "" if peer is None else peer[0]
    assert client_address(asked.scope, trusted) == own


@given(lines=LINES, peer=st.sampled_from([PROXY, OVER_UNIX]))
def test_a_client_changes_no_url_through_the_documented_proxy(
    lines: list[Line], peer: tuple[str, int] | None
) -> None:
    """The proxy sets scheme and host and clears Forwarded, so no value of the client is left."""
    urls = Urls(trusted=(NETWORK, "unix"))
    asked = connection(peer, set_by_proxy(lines))
    assert urls.absolute(asked, TOKEN) == f"https://{PUBLIC}{TOKEN}"
    assert urls.secure(asked, TOKEN) == f"https://{PUBLIC}{TOKEN}"


@given(lines=LINES, peer=PEERS, trusted=TRUSTED)
def test_a_url_for_tokens_is_a_host_and_the_path(
    lines: list[Line], peer: tuple[str, int] | None, trusted: tuple[TrustedProxy, ...]
) -> None:
    """No header adds a user, a path, a query or a line; without a valid host there is no URL."""
    urls = Urls(trusted=trusted)
    for url in (urls.absolute(connection(peer, lines), TOKEN),
                urls.secure(connection(peer, lines), TOKEN)):  # fmt: skip
        parts = urlsplit(url)
        assert url == (f"{parts.scheme}://{parts.netloc}{TOKEN}" if parts.netloc else TOKEN)
        assert "@" not in parts.netloc
        assert url.isascii()
        assert url.isprintable()


@given(lines=LINES)
@example(lines=[(b"x-forwarded-for", b"unix:")])
@example(lines=[(b"forwarded", b"for=unix")])
def test_the_word_unix_trusts_no_address_in_a_list(lines: list[Line]) -> None:
    """It is about the peer. In a header, it ends the list."""
    appended = [*lines, (b"x-forwarded-for", b"192.0.2.7")]
    assert client_address(connection(OVER_UNIX, appended).scope, ("unix",)) == "192.0.2.7"
    found = client_address(connection(OVER_UNIX, lines).scope, ("unix",))
    assert not found or ipaddress.ip_address(found)


@pytest.mark.parametrize("node", ["unix", '"unix:"', "unknown", "_hidden"])
def test_entries_left_of_a_node_without_an_address_are_the_clients(node: str) -> None:
    """The proxy on the socket added the last element; the word trusts no other."""
    line = f"for=192.0.2.7;host={EVIL};proto=http, for={node};host={PUBLIC};proto=https"
    asked = connection(OVER_UNIX, [(b"forwarded", line.encode())])
    assert Urls(trusted=("unix",)).absolute(asked, TOKEN) == f"https://{PUBLIC}{TOKEN}"


@pytest.mark.parametrize(
    ("net", "addr", "believed"), [("unix", "/s", (NETWORK, "unix")), ("tcp", ":1", (NETWORK,))]
)
def test_over_tcp_the_word_unix_trusts_no_peer(
    net: str, addr: str, believed: tuple[TrustedProxy, ...]
) -> None:
    """The address of a TCP client may be lost when it resets the connection."""
    http = {"net": net, "addr": addr, "trustedproxies": ["10.0.0.0/8", "unix"]}
    assert validated(Settings, {"http": http}).http.trusted == believed
