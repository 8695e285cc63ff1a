"""An open registry, and passwords without TLS, are warnings if other machines can connect."""

from __future__ import annotations

import pytest

from registry_server.config import Overrides
from tests.config.conftest import Read, Refuse

USERS = "auth: {htpasswd: {realm: r, path: /users}}\n"
FOREIGN = "auth: {token: {realm: 'https://r', service: s, issuer: i, jwks: /j}}\n"
RULES = "access: {rules: []}\n"
TLS = "tls: {certificate: /c, key: /k"
OPEN, PASSWORDS = "every client may pull and push: ", "clients send passwords there without TLS: "

BEYOND = [":5000", "0.0.0.0:5000", "[::]:5000", "192.0.2.1:5000", "[2001:db8::1]:443", "host:80"]
LOOPBACK = ["localhost:5000", "127.0.0.1:5000", "127.9.9.9:1", "[::1]:5000", "[::ffff:127.0.0.1]:1"]


def told(read: Read, text: str, http: str = "") -> list[str]:
    """Return the exposure warnings."""
    loaded = read(f"version: 0.1\nhttp: {{{http}}}\n{text}")
    assert not [line for line in loaded.warnings if "loopback" in line]
    return [str(each) for each in loaded.exposure]


@pytest.mark.parametrize("addr", BEYOND)
@pytest.mark.parametrize(
    ("text", "said"),
    [("", OPEN), (USERS, PASSWORDS), (RULES, PASSWORDS), (f"{USERS}{RULES}", PASSWORDS)],
)
def test_an_exposed_registry_is_one_warning(read: Read, addr: str, text: str, said: str) -> None:
    """It has the file, the line and the key."""
    (line,) = told(read, text, f"addr: '{addr}'")
    assert "config.yml, line 2: http.addr is not on loopback, and " in line
    assert said in line


@pytest.mark.parametrize("http", [*(f"addr: '{addr}'" for addr in LOOPBACK), "net: unix, addr: /s"])
@pytest.mark.parametrize("text", ["", USERS])
def test_loopback_and_unix_sockets_have_no_warning(read: Read, http: str, text: str) -> None:
    """No other machine can connect to them."""
    assert told(read, text, http) == []


@pytest.mark.parametrize(
    ("text", "http"),
    [
        ("auth: none\n", ""),
        (USERS, TLS + "}"),
        (USERS, "trustedproxies: [10.0.0.1]"),
        (USERS, "trustedproxies: [127.0.0.1, 10.0.0.1]"),
        (FOREIGN, ""),
        (f"{FOREIGN}{RULES}", ""),
        ("", TLS + ", clientcas: [/a]}"),
    ],
)
def test_intended_or_encrypted_access_has_no_warning(read: Read, text: str, http: str) -> None:
    """Open on purpose, TLS here or at a proxy, no passwords, or required client certificates."""
    assert told(read, text, http) == []


@pytest.mark.parametrize(
    ("text", "http", "said"),
    [
        ("", TLS + "}", OPEN),
        ("", TLS + ", clientcas: [/a], clientauth: verify-client-cert-if-given}", OPEN),
        ("", "trustedproxies: [10.0.0.1]", OPEN),
        (USERS, "trustedproxies: [unix]", PASSWORDS),
        (USERS, "trustedproxies: [127.0.0.1, '::1', 127.0.0.0/8]", PASSWORDS),
        (USERS, "host: 'https://registry.example.com'", PASSWORDS),
        ("storage: {delete: {enabled: true}}\n", "", "may pull, push and delete: "),
        ("storage: {maintenance: {readonly: {enabled: true}}}\n", "", "may pull: "),
    ],
)
def test_incomplete_protection_is_a_warning(read: Read, text: str, http: str, said: str) -> None:
    """TLS admits every client, and a proxy does not block direct connections."""
    (line,) = told(read, text, http)
    assert said in line


CLEAR = "begins with http://, and clients send passwords there for tokens: "


@pytest.mark.parametrize("addr", ["addr: '127.0.0.1:1'", "net: unix, addr: /s", TLS + "}"])
@pytest.mark.parametrize(
    ("text", "http", "said"),
    [
        (f"{USERS}{RULES}", "host: 'http://registry.example.com'", "line 2: http.host"),
        (
            "access: {rules: [], tokens: {realm: 'HTTP://[2001:db8::1]/t'}}\n",
            "host: 'https://registry.example.com'",
            "line 3: access.tokens.realm",
        ),
        (FOREIGN.replace("https", "http"), "", "line 3: auth.token.realm"),
    ],
)
def test_a_url_for_tokens_without_tls_is_a_warning(
    read: Read, addr: str, text: str, http: str, said: str
) -> None:
    """Regardless of the listener: clients send their passwords to this URL."""
    (line,) = told(read, text, ", ".join(filter(None, (addr, http))))
    assert f"{said} {CLEAR}" in line


@pytest.mark.parametrize(
    ("text", "http"),
    [
        (USERS, "host: 'http://registry.example.com'"),
        (f"{USERS}{RULES}", "host: 'https://registry.example.com'"),
        (f"{USERS}{RULES}", "host: 'http://localhost:5000'"),
        (f"{USERS}{RULES}", "host: 'http://[::1]:5000'"),
        (f"{USERS}access: {{rules: [], tokens: {{realm: 'https://r/t'}}}}\n", "host: 'http://r'"),
        (FOREIGN, "host: 'http://registry.example.com'"),
        (FOREIGN.replace("https", "http").replace("}}", ", autoredirect: true}}"), ""),
    ],
)
def test_a_url_without_passwords_has_no_warning(read: Read, text: str, http: str) -> None:
    """Without access rules clients get no tokens here; and localhost is not exposed."""
    assert told(read, text, ", ".join(filter(None, ("addr: '127.0.0.1:1'", http)))) == []


def test_an_option_that_opens_the_trial_registry_is_named(read: Read) -> None:
    """The warning names the option that set the address."""
    loaded = read(
        "version: 0.1\nhttp: {addr: '127.0.0.1:1'}\n", overrides=Overrides(host="0.0.0.0")
    )
    (problem,) = loaded.exposure
    assert str(problem).startswith("--host: http.addr is not on loopback")


def test_with_rules_an_invalid_host_is_an_error(refuse: Refuse, read: Read) -> None:
    """registry:2 ignores it, but with access rules clients send passwords to that host."""
    text = "version: 0.1\nhttp: {host: registry.example.com}\n"
    assert "it is ignored" in read(text).warnings[0]
    (problem,) = refuse(f"{text}{RULES}")
    assert problem.startswith("config.yml, line 2: http.host must be a full URL")
