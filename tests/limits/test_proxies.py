"""The scheme and host that a client requested, by the headers of trusted proxies."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from registry_server.http import proxies
from registry_server.http.proxies import Hop, Network

TRUSTED: tuple[Network, ...] = (ipaddress.ip_network("10.0.0.0/8"),)
HOST, PROTO, FOR = b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-for"
FORWARDED = b"forwarded"


def asked(*lines: tuple[bytes, str]) -> Hop:
    headers = [(name, value.encode("latin-1")) for name, value in lines]
    scope: Scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": headers}
    return proxies.requested_origin(scope, TRUSTED)


@pytest.mark.parametrize(
    ("text", "proto", "host"),
    [
        ("proto=https;host=a.example", "https", "a.example"),
        ('for=192.0.2.1;Proto=https;Host="a.example:81"', "https", "a.example:81"),
        (r'host="a\.example"', "", "a.example"),
        # The outermost trusted proxy was nearest to the client.
        ("for=192.0.2.1;proto=https;host=outer, for=10.0.0.2;proto=http;host=inner",
         "https", "outer"),
        ("for=192.0.2.1;proto=https, for=10.0.0.2;proto=http;host=inner", "https", "inner"),
        # Everything left of an address that is not a trusted proxy may be forged by the client.
        ("for=10.0.0.3;host=forged, for=192.0.2.1;host=a.example", "", "a.example"),
        ("host=forged, host=a.example", "", "a.example"),
        ("host=forged, for=unknown;host=a.example", "", "a.example"),
        ('host="forged, for=10.0.0.2;host=inner', "", ""),
        ("nonsense", "", ""),
        ("", "", ""),
        ("for=10.0.0.2;host=" + "a" * 8192, "", ""),
    ],
)  # fmt: skip
def test_forwarded_is_read_from_the_right(text: str, proto: str, host: str) -> None:
    """Up to the proxy that the client connected to; malformed elements are ignored."""
    hop = asked((FORWARDED, text))
    assert (hop.proto, hop.host) == (proto, host)


def test_several_lines_are_one_list() -> None:
    """A proxy may add a line instead of appending to one (RFC 7239, section 4)."""
    inner = "for=10.0.0.2;host=inner"
    hop = asked((FORWARDED, "for=192.0.2.1;host=outer"), (FORWARDED, inner))
    assert hop.host == "outer"
    assert asked((FORWARDED, 'spoilt="'), (FORWARDED, inner)).host == "inner"


@pytest.mark.parametrize("other", [(FOR, "192.0.2.1"), (PROTO, "http"), (HOST, "a.example")])
def test_forwarded_is_ignored_beside_the_others(other: tuple[bytes, str]) -> None:
    """A proxy that writes those passes on the client's Forwarded unchanged."""
    hop = asked(other, (FORWARDED, "proto=https;host=forged"))
    assert "forged" not in hop.host
    assert hop.proto != "https"


@given(st.text(st.characters(max_codepoint=255)), st.sampled_from([";host=a.example", ""]))
def test_a_client_never_chooses_the_host_of_its_proxy(sent: str, said: str) -> None:
    """Only what the trusted proxy appends to the line counts."""
    hop = asked((FORWARDED, f"{sent}, for=192.0.2.7{said}"))
    assert hop.host in {"", "a.example"}
    assert hop.proto == ""


@given(st.lists(st.text(st.characters(max_codepoint=255)), max_size=4))
def test_any_header_can_be_parsed(lines: list[str]) -> None:
    """Nothing raises."""
    asked(*((FORWARDED, line) for line in lines))


def test_an_ipv4_proxy_is_trusted_on_a_dual_stack_socket() -> None:
    """By its configured IPv4 address."""
    scope: Scope = {"type": "http", "client": ("::ffff:10.0.0.1", 1), "headers": []}
    assert proxies.is_trusted(proxies.peer(scope), TRUSTED)
