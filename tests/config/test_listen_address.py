"""Addresses are parsed in distribution's forms and formatted the same."""

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
def test_a_tcp_address_is_parsed(addr: str, expected: ListenAddress) -> None:
    """The host is a name, an IPv4 or IPv6 address, or missing."""
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
def test_an_invalid_tcp_address_is_refused(addr: str, problem: str) -> None:
    """The message shows the form of an address."""
    with pytest.raises(ValueError, match=problem):
        ListenAddress.parse("tcp", addr)


def test_a_port_may_be_the_name_of_a_service() -> None:
    """As in Go, the system resolves the port of https."""
    assert ListenAddress.parse("tcp", ":https") == ListenAddress("", 443)


def test_a_unix_address_is_a_path() -> None:
    """With net unix the address is the path of the socket."""
    address = ListenAddress.parse("unix", "/run/registry.sock")
    assert address == ListenAddress(path=Path("/run/registry.sock"))
    assert str(address) == "/run/registry.sock"


@pytest.mark.parametrize("addr", ["", ":5000", "/run/\0"])
def test_an_invalid_socket_path_is_refused(addr: str) -> None:
    """A port is not taken for the name of a socket in the working directory."""
    with pytest.raises(ValueError, match="path of a socket"):
        ListenAddress.parse("unix", addr)


@given(HOSTS, st.integers(0, 65535))
def test_parse_and_format_are_inverse(host: str, port: int) -> None:
    """For every valid host and port."""
    address = ListenAddress(host, port)
    assert ListenAddress.parse("tcp", str(address)) == address


@given(st.sampled_from(["tcp", "unix"]), st.text())
def test_any_text_is_an_address_or_a_value_error(net: str, addr: str) -> None:
    """The parser raises nothing else."""
    try:
        address = ListenAddress.parse("unix" if net == "unix" else "tcp", addr)
    except ValueError:
        return
    assert str(address)
