"""Parsing of `Authorization: Basic`."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.access.users.basic import LONGEST_HEADER, has_controls, parse_basic

NAMES = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=200).filter(
    lambda text: text != "" and ":" not in text
)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def encoded(content: str | bytes, scheme: str = "Basic") -> str:
    """Return credentials as a client encodes them."""
    data = content.encode() if isinstance(content, str) else content
    return f"{scheme} {base64.b64encode(data).decode()}"


@given(NAMES, PASSWORDS, st.sampled_from(["Basic", "basic", "BASIC", "bAsIc"]), st.booleans())
def test_well_formed_credentials_are_parsed(
    name: str, password: str, scheme: str, as_bytes: bool
) -> None:
    """Every name and password is returned unchanged, whatever the case of the scheme."""
    header = encoded(f"{name}:{password}", scheme)
    assert parse_basic(header.encode() if as_bytes else header) == (name, password)


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_header_raises(header: bytes | str) -> None:
    """Any header is credentials or None."""
    parse_basic(header)
    parse_basic(
        b"Basic " + (header if isinstance(header, bytes) else header.encode("utf-8", "replace"))
    )


@given(st.binary(max_size=300))
def test_no_decoded_bytes_raise(content: bytes) -> None:
    """Any content; a name is never empty and has no control characters."""
    found = parse_basic(encoded(content))
    if found is not None:
        assert found[0]
        assert ":" not in found[0]
        assert not has_controls(found[0])
        assert "\0" not in found[1]


def test_the_first_colon_ends_the_name() -> None:
    """A password may have colons and control characters, and may be empty."""
    assert parse_basic(encoded("a: \tb\n\x7f\x85 ")) == ("a", " \tb\n\x7f\x85 ")
    assert parse_basic(encoded("a:b:c:")) == ("a", "b:c:")
    assert parse_basic(encoded("a:")) == ("a", "")


def test_a_password_that_is_not_utf8_is_its_bytes() -> None:
    """Some clients send Latin-1."""
    found = parse_basic(encoded("a:pässword".encode("latin-1")))
    assert found is not None
    assert found[1].encode("utf-8", "surrogateescape") == "pässword".encode("latin-1")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Bearer YTpi",
        "BasicYTpi",
        "Basic\tYTpi",
        "Basic YTpi YTpi",
        "Basic YTpi,",
        "Basic YTp\ni",
        "Basic YTpiYw",
        "Basic YTpiYx==",
        "Basic YTpiYw==YTpi",
        "Basic YTpi=",
        "Basic _-8=",
        "Basic \u00e9",
        encoded("nocolon"),
        encoded(":empty name"),
        encoded(b"\xff:b"),
        encoded(b"\xed\xa0\x80:b"),
        encoded("a\0:b"),
        encoded("a\t:b"),
        encoded("a\x85:b"),
        encoded("a:b\0"),
    ],
)
def test_malformed_credentials_are_refused(header: str) -> None:
    """Other schemes, non-canonical base64, and names that are empty, not UTF-8 or have controls."""
    assert parse_basic(header) is None


def test_the_length_is_bounded() -> None:
    """8 KiB are accepted, one byte more is not."""
    space = " " * (LONGEST_HEADER - len("Basic") - 4)
    assert parse_basic(f"Basic{space}YTpi") == ("a", "b")
    assert parse_basic(f"Basic{space} YTpi") is None
    assert parse_basic(encoded("a:" + "x" * LONGEST_HEADER)) is None
