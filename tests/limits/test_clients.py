"""The address of a client: its peer's, unless a trusted proxy names another."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Scope

from registry_server.http.clients import client_address, limit_key
from registry_server.http.proxies import Network

TRUSTED: tuple[Network, ...] = (
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_network("fd00::/8"),
)
PROXY = "10.0.0.1"
CLIENT = "192.0.2.7"
XFF, FORWARDED = b"x-forwarded-for", b"forwarded"

# Texts close to the grammar, so that the parser does not stop early.
_TEXT = st.one_of(
    st.text(st.characters(max_codepoint=255)),
    st.text('0123456789abcdef.:[]",;= \t\\%fFoOrR', max_size=80),
    st.lists(
        st.sampled_from(
            [CLIENT, PROXY, "for=", '"', ",", ";", "[2001:db8::1]", ":80", "unknown", " ", "\\", ""]
        )
    ).map("".join),
)
_LINES = st.lists(
    st.tuples(st.sampled_from([XFF, FORWARDED]), _TEXT.map(lambda text: text.encode("latin-1")))
)


def _scope(peer: str | None, *lines: tuple[bytes, bytes]) -> Scope:
    return {"type": "http", "client": peer and (peer, 1234), "headers": list(lines)}


def _through(lines: Sequence[tuple[bytes, str]], peer: str = PROXY) -> str:
    encoded = [(name, text.encode("latin-1")) for name, text in lines]
    return client_address(_scope(peer, *encoded), TRUSTED)


@given(_LINES)
def test_an_untrusted_client_never_chooses_an_address(lines: list[tuple[bytes, bytes]]) -> None:
    """Whatever its headers; without trusted proxies no client chooses one."""
    assert client_address(_scope(CLIENT, *lines), TRUSTED) == CLIENT
    assert client_address(_scope(PROXY, *lines)) == PROXY


@given(_TEXT, st.sampled_from([CLIENT, "2001:db8::1"]))
def test_a_header_before_that_of_the_proxy_does_not_count(sent: str, client: str) -> None:
    """A proxy appends to the client's line, or adds a line; Forwarded beside it is ignored."""
    added = f"{sent}, {client}"
    assert _through([(FORWARDED, sent), (XFF, added)]) == client
    assert _through([(XFF, sent), (FORWARDED, sent), (XFF, client)]) == client
    assert _through([(FORWARDED, sent), (FORWARDED, f'for="[{client}]"')]) == client


@given(_TEXT, _TEXT, st.sampled_from(["for=192.0.2.7", 'for="192.0.2.7:80"']))
@example('for=9.9.9.9;x="', ",for=9.9.9.9;y=", "for=192.0.2.7")
@example('x="\\', '",for=9.9.9.9;y="', "for=192.0.2.7")
def test_an_open_quote_of_a_client_hides_nothing_of_its_proxy(
    sent: str, host: str, node: str
) -> None:
    """A malformed line of Forwarded is ignored; the host is then the one the client sent."""
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    for added in (f'{node};host="{quoted}"', f'host="{quoted}";{node}', node):
        assert _through([(FORWARDED, f"{sent}, {added}")]) in (CLIENT, PROXY)


@given(_LINES, st.sampled_from([PROXY, "fd00::1"]))
@example([(FORWARDED, b'for="' * 1000)], PROXY)
@example([(FORWARDED, b"for=10.1.1.1," * 5000)], PROXY)
@example([(XFF, b"," * 60_000)], PROXY)
def test_any_header_of_a_proxy_gives_an_address(
    lines: list[tuple[bytes, bytes]], proxy: str
) -> None:
    """Nothing raises, and no other text is returned."""
    found = client_address(_scope(proxy, *lines), TRUSTED)
    assert str(ipaddress.ip_address(found)) == found


@given(st.text())
def test_a_peer_without_an_ip_address_is_returned_unchanged(peer: str) -> None:
    """It is not trusted."""
    try:
        ipaddress.ip_address(peer)
    except ValueError:
        assert client_address(_scope(peer, (XFF, b"1.2.3.4")), TRUSTED) == peer


def test_a_unix_socket_has_no_address() -> None:
    """Whatever its headers."""
    assert client_address(_scope(None, (XFF, b"1.2.3.4")), TRUSTED) == ""
    assert client_address({"type": "http", "headers": []}, TRUSTED) == ""
    assert client_address(_scope("", (XFF, b"1.2.3.4")), TRUSTED) == ""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("1.1.1.1, 192.0.2.7, 10.9.9.9,10.1.1.1", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, ::ffff:10.1.1.1", "192.0.2.7"),
        ("10.5.5.5, 10.1.1.1", "10.5.5.5"),  # a client among the proxies
        ("unknown, 10.1.1.1", PROXY),
        ("192.0.2.7, unknown", PROXY),
        ("192.0.2.7,", PROXY),
        ("fe80::1%text", PROXY),
        ("192.0.2.007", PROXY),
        ("3221225991", PROXY),
        ("", PROXY),
        ("192.0.2.7" + ", 10.1.1.1" * 31, "192.0.2.7"),
        ("192.0.2.7" + ", 10.1.1.1" * 32, PROXY),
    ],
)
def test_x_forwarded_for_is_read_from_the_right(text: str, address: str) -> None:
    """Up to the first address that is not a proxy; a malformed entry invalidates the list."""
    assert _through([(XFF, text)]) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("for=192.0.2.7", "192.0.2.7"),
        ("For=192.0.2.7;proto=http;by=203.0.113.43", "192.0.2.7"),
        ('for=1.1.1.1, for="192.0.2.7:80";host="a,b;for=9.9.9.9"', "192.0.2.7"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ("for=192.0.2.7, for=10.1.1.1", "192.0.2.7"),
        ("proto=http;for=192.0.2.7 , for=10.1.1.1", "192.0.2.7"),
        ('for=192.0.2.7;host=";for=9.9.9.9;"', "192.0.2.7"),
        ("for=192.0.2.7, proto=http", PROXY),
        ("for=_hidden", PROXY),
        ("for=unknown", PROXY),
        ('for="192.0.2.7', PROXY),
        ("for=192.0.2.7;", PROXY),
        ("192.0.2.7", PROXY),
        ("for=192.0.2.7" + " " * 8192, PROXY),
    ],
)
def test_forwarded_follows_its_grammar(text: str, address: str) -> None:
    """RFC 7239: pairs, quoted where needed; quoted text is not parsed as a pair."""
    assert _through([(FORWARDED, text)]) == address


def test_an_ipv4_client_is_the_same_on_a_dual_stack_socket() -> None:
    """And so is a proxy."""
    assert client_address(_scope("::ffff:192.0.2.7"), TRUSTED) == "192.0.2.7"
    assert _through([(XFF, CLIENT)], peer="::ffff:10.0.0.1") == CLIENT


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1))
def test_a_network_of_ipv6_counts_as_one(address: ipaddress.IPv6Address, host: int) -> None:
    """/64 networks of IPv6; each IPv4 address counts separately."""
    if address.ipv4_mapped is None:
        other = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
        if other.ipv4_mapped is None:
            assert limit_key(str(address)) == limit_key(str(other)) == limit_key(f"{other}%lo")
    assert limit_key("192.0.2.7") != limit_key("192.0.2.8")


@pytest.mark.parametrize("text", ["", "testclient", "::ffff:1.2.3.4"])
def test_other_text_counts_unchanged(text: str) -> None:
    """Nothing raises."""
    assert limit_key(text) == text
