"""Texts in headers may use any script, but no control characters."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config.header_text import ascii_url
from tests.config.conftest import Read, Refuse

BEYOND = "Réalm ☃ 登録"
TEXTS = [
    ("auth.htpasswd.realm", "auth: {{htpasswd: {{path: /users, realm: {}}}}}"),
    ("auth.token.realm", "auth: {{token: {{service: s, issuer: i, jwks: /k, realm: {}}}}}"),
    ("auth.token.service", "auth: {{token: {{realm: r, issuer: i, jwks: /k, service: {}}}}}"),
    ("auth.token.issuer", "auth: {{token: {{realm: r, service: s, jwks: /k, issuer: {}}}}}"),
    ("access.tokens.service", "access: {{rules: [], tokens: {{service: {}}}}}"),
    ("access.tokens.issuer", "access: {{rules: [], tokens: {{issuer: {}}}}}"),
]


@pytest.mark.parametrize(("key", "text"), TEXTS)
def test_any_script_is_accepted(read: Read, key: str, text: str) -> None:
    """As in registry:2."""
    value: object = read("version: 0.1\n" + text.format(json.dumps(BEYOND))).settings
    for name in key.split("."):
        value = getattr(value, name)
    assert value == BEYOND


@pytest.mark.parametrize("control", ["\n", "\r", "\0", "\t", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize(("key", "text"), TEXTS)
def test_control_characters_are_refused(refuse: Refuse, key: str, text: str, control: str) -> None:
    """The message has file, line and key. A line break would begin another header."""
    (problem,) = refuse("version: 0.1\n" + text.format(json.dumps(f"a{control}b")))
    assert problem == f"config.yml, line 2: {key} must not contain control characters"


def test_headers_take_any_script_and_lose_line_breaks(read: Read) -> None:
    """A block text of YAML ends with a newline, which is removed."""
    values = json.dumps([BEYOND, "a\tb", " spaced \n", "a\r\nSet-Cookie: b"])
    headers = read(f"version: 0.1\nhttp: {{headers: {{X-A: {values}}}}}\n").settings.http.headers
    assert headers == {"X-A": (BEYOND, "a\tb", "spaced", "a  Set-Cookie: b")}


@pytest.mark.parametrize("control", ["\0", "\x1b", "\x7f"])
def test_a_header_with_control_characters_is_not_sent(read: Read, control: str) -> None:
    """A warning has file, line and key."""
    values = json.dumps([f"a{control}b"])
    loaded = read(f"version: 0.1\nhttp:\n  headers:\n    X-A: {values}\n    X-B: [c]\n")
    assert loaded.settings.http.headers == {"X-B": ("c",)}
    (warning,) = loaded.warnings
    assert "config.yml, line 4: http.headers.X-A must not contain control chara" in warning


def test_the_host_of_a_url_is_encoded_with_idna(read: Read) -> None:
    """Clients resolve that form; registry:2 sends percent-encoded bytes."""
    text = "version: 0.1\nhttp: {host: 'https://ann@bücher.example:5000/☃'}\n"
    host = read(text).settings.http.host
    assert host == "https://ann@xn--bcher-kva.example:5000/%E2%98%83"
    tokens = "version: 0.1\naccess: {rules: [], tokens: {realm: 'https://bücher.example/t'}}\n"
    assert read(tokens).settings.access.tokens.realm == "https://xn--bcher-kva.example/t"


@given(st.text(st.characters(categories=["L", "M", "N", "S"]), max_size=30))
def test_every_url_becomes_ascii(text: str) -> None:
    """A host without an IDNA form is percent-encoded."""
    for url in (f"https://ok.example/{text}", f"https://a/?{text}#a"):
        assert ascii_url(url).isascii()
    with suppress(ValueError):
        assert ascii_url(f"https://{text}.example/").isascii()


# Sharp s, a final sigma, a full-width letter, and a joiner.
ODD_HOSTS = ["stra\u00dfe", "\u03b2\u03cc\u03bb\u03bf\u03c2", "\uff22ad", "a\u200db"]


@pytest.mark.parametrize("name", ODD_HOSTS)
def test_an_ambiguous_host_is_refused(refuse: Refuse, name: str) -> None:
    """Browsers and Go would send passwords to another domain than Python's IDNA gives."""
    text = "version: 0.1\naccess: {rules: [], tokens: {realm: 'https://NAME.example/t'}}\n"
    (problem,) = refuse(text.replace("NAME", name))
    assert "access.tokens.realm" in problem
    composed = ascii_url("https://bu\u0308cher.example")
    assert composed == ascii_url("https://B\u00dcCHER.example") == "https://xn--bcher-kva.example"


def test_an_ascii_host_is_kept(read: Read) -> None:
    """In ASCII it is not ambiguous."""
    text = "version: 0.1\naccess: {rules: [], tokens: {realm: 'https://xn--strae-oqa.example/t'}}\n"
    assert read(text).settings.access.tokens.realm == "https://xn--strae-oqa.example/t"
