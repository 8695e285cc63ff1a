"""Addresses are read in distribution's forms and written back the same."""

from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import ListenAddress

HOSTS = st.one_of(
    st.just(""),
    st.sampled_from(["localhost", "registry.example.com", "my_host", "a"]),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: str(IPv6Address(address).ipv4_mapped or address)),
)


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        (":5000", ListenAddress("", 5000)),
        ("localhost:5000", ListenAddress("localhost", 5000)),
        ("0.0.0.0:5000", ListenAddress("0.0.0.0", 5000)),
        ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
        ("[::1]:5000", ListenAddress("::1", 5000)),
        ("[::]:65535", ListenAddress("::", 65535)),
        ("[::ffff:127.0.0.1]:5000", ListenAddress("127.0.0.1", 5000)),
    ],
)
def test_the_forms_of_a_tcp_address_are_read(addr: str, expected: ListenAddress) -> None:
    """A name, an address of either family, or no host at all may come before the port."""
    assert ListenAddress.parse("tcp", addr) == expected


@pytest.mark.parametrize(
    ("addr", "problem"),
    [
        ("5000", "must be host:port"),
        ("", "must be host:port"),
        ("localhost", "must be host:port"),
        ("::1:5000", "must be host:port"),
        ("http://localhost:5000", "must be host:port"),
        ("[localhost]:5000", "must have an IPv6 address in the brackets"),
        ("[]:5000", "must have an IPv6 address in the brackets"),
        ("local host:5000", "neither a name nor an IP address"),
        ("localhost:", "needs a port from 0 to 65535"),
        ("localhost:65536", "needs a port from 0 to 65535"),
        ("localhost:no-such-service", "needs a port from 0 to 65535"),
        ("localhost:-1", "needs a port from 0 to 65535"),
    ],
)
def test_a_wrong_tcp_address_is_refused_in_plain_words(addr: str, problem: str) -> None:
    """The message says what an address looks like."""
    with pytest.raises(ValueError, match=problem):
        ListenAddress.parse("tcp", addr)


def test_a_port_may_be_the_name_of_a_service() -> None:
    """As in Go the machine knows the port of https."""
    assert ListenAddress.parse("tcp", ":https") == ListenAddress("", 443)


def test_a_unix_address_is_a_path() -> None:
    """With net unix the address is where the socket lies."""
    address = ListenAddress.parse("unix", "/run/registry.sock")
    assert address == ListenAddress(path=Path("/run/registry.sock"))
    assert str(address) == "/run/registry.sock"


@pytest.mark.parametrize("addr", ["", ":5000", "/run/\0"])
def test_what_cannot_be_a_socket_is_refused(addr: str) -> None:
    """A port is not taken for the name of a socket in the working directory."""
    with pytest.raises(ValueError, match="path of a socket"):
        ListenAddress.parse("unix", addr)


@given(HOSTS, st.integers(0, 65535))
def test_reading_what_was_written_gives_the_same_endpoint(host: str, port: int) -> None:
    """Parse and print are inverse."""
    address = ListenAddress(host, port)
    assert ListenAddress.parse("tcp", str(address)) == address


@given(st.sampled_from(["tcp", "unix"]), st.text())
def test_any_text_is_an_endpoint_or_a_value_error(net: str, addr: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        address = ListenAddress.parse("unix" if net == "unix" else "tcp", addr)
    except ValueError:
        return
    assert str(address)
