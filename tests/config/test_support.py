"""A known key that is not implemented is a warning, or an error if that would be unsafe."""

import pytest

from registry_server.config import key_tree, support
from registry_server.config.document import DRIVERS
from registry_server.config.schema import Storage
from tests.config.conftest import Read, Refuse

SET = {
    "auth.silly": "auth: silly",
    "proxy.remoteurl": "proxy: {remoteurl: https://upstream.example.com}",
    "storage.azure": "storage: azure",
    "storage.gcs": "storage: {gcs: {bucket: b}}",
    "storage.oss": "storage: {oss: }",
    "storage.s3": "storage: {s3: {bucket: b, unheard: of}}",
    "storage.s3aws": "storage: {s3aws: {}}",
    "storage.swift": "storage: {swift: {}}",
    "http.tls.letsencrypt": "http: {tls: {letsencrypt: {cachefile: /c}}}",
    "log.hooks": "log: {hooks: [{type: mail}]}",
    "http.debug": "http: {debug: {prometheus: {enabled: true}}}",
    "http.h2c": "http: {h2c: {enabled: true}}",
    "notifications": "notifications: {endpoints: [{name: n}]}",
    "redis": "redis: {addrs: [localhost]}",
    "health": "health: {tcp: [{addr: localhost}]}",
    "middleware": "middleware: {storage: [{name: cloudfront, options: {baseurl: x}}]}",
    "policy": "policy: {repository: {classes: [image]}}",
    "reporting": "reporting: {bugsnag: {apikey: k}}",
    "compatibility": "compatibility: {schema1: {enabled: true}}",
}


@pytest.mark.parametrize("key", sorted(support.REFUSED))
def test_an_unsafe_key_is_refused(refuse: Refuse, key: str) -> None:
    """One line names the key, says that it is not implemented, and what to do instead."""
    (problem,) = refuse(f"version: 0.1\n{SET[key]}\n")
    before, _, remedy = problem.partition(f"config.yml, line 2: {key} is not implemented")
    assert before == ""
    assert ": " in remedy


@pytest.mark.parametrize("key", sorted(support.WARNED))
def test_a_section_without_effect_is_one_warning(read: Read, key: str) -> None:
    """The line names the section, and the registry starts."""
    (warning,) = read(f"version: 0.1\n{SET[key]}\n").warnings
    assert f"line 2: {key} " in warning
    assert "has no effect" in warning


@pytest.mark.parametrize(
    "text",
    [
        "auth: none",
        "proxy: {remoteurl: ''}",
        "proxy: {username: u, password: p}",
        "log: {hooks: []}",
        "http: {debug: {}, h2c: {enabled: false}, http2: {disabled: true}, secret: s}",
        "http: {tls: {letsencrypt: {}, ciphersuites: []}}",
        "notifications: {endpoints: []}",
        "health: {storagedriver: {enabled: false}}",
        "storage: {filesystem: , redirect: {disable: true}, tag: {concurrencylimit: 8}}",
        "storage: {cache: {blobdescriptor: inmemory, blobdescriptorsize: 5}}",
        "storage: {cache: {blobdescriptor: ''}}",
    ],
)
def test_default_values_cause_no_warning(read: Read, text: str) -> None:
    """Neither do keys that need no action."""
    assert read(f"version: 0.1\n{text}\n").warnings == ()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("auth:", "auth is empty: clients need no password"),
        ("auth: {}", "auth is empty: clients need no password"),
        ("storage: {cache: {blobdescriptor: redis}}", "storage.cache.blobdescriptor has no effect"),
        ("storage: {cache: {layerinfo: redis}}", "storage.cache.layerinfo has no effect"),
        (
            "http: {tls: {certificate: /c, key: /k, clientcas: [/a], "
            "clientauth: request-client-cert}}",
            "http.tls.clientauth counts as verify-client-cert-if-given",
        ),
        (
            "http: {headers: {access-control-Allow-Origin: ['null']}}",
            "http.headers.access-control-Allow-Origin is null, an origin that any web page",
        ),
    ],
)
def test_a_value_with_another_meaning_is_a_warning(read: Read, text: str, warning: str) -> None:
    """The line names the key."""
    (line,) = read(f"version: 0.1\n{text}\n").warnings
    assert warning in line


def test_the_tables_have_only_known_keys_and_all_drivers() -> None:
    """No entry is about an unknown key, and no driver is missing."""
    for key in (*support.REFUSED, *support.WARNED):
        assert key_tree.at(tuple(key.split("."))) is not None, key
    others = {"cache", "delete", "maintenance", "redirect", "tag"}
    assert set(Storage.field_names()) == {*DRIVERS, *others}
    refused = {key for key in support.REFUSED if key.startswith("storage.")}
    assert refused == {f"storage.{name}" for name in DRIVERS - {"filesystem", "inmemory"}}
    assert {key for key in support.REFUSED if key.startswith("auth.")} == {"auth.silly"}


ON_SOCKET = "version: 0.1\nhttp: {net: unix, addr: /run/registry.sock%s}\naccess: {rules: []%s}\n"


def test_rules_on_a_unix_socket_need_the_url_for_tokens(refuse: Refuse) -> None:
    """Otherwise passwords would be sent to http://. The error names each key that helps."""
    (problem,) = refuse(ON_SOCKET % ("", ""))
    assert problem.startswith("config.yml, line 2: http.net is unix, and clients would be sent to")
    for key in ("http.host", "access.tokens.realm", "http.trustedproxies: [unix]"):
        assert key in problem
    (problem,) = refuse(ON_SOCKET % (", trustedproxies: [10.0.0.0/8]", ""))
    assert "http.net" in problem


@pytest.mark.parametrize(
    ("http", "access"),
    [
        (", host: https://registry.example.com", ""),
        (", trustedproxies: [10.0.0.0/8, unix]", ""),
        ("", ", tokens: {realm: https://registry.example.com/auth/token}"),
    ],
)
def test_rules_on_a_unix_socket_are_served_with_a_known_url(
    read: Read, http: str, access: str
) -> None:
    """From the host, from the realm, or from a trusted proxy."""
    assert read(ON_SOCKET % (http, access)).warnings == ()


def test_other_access_on_a_unix_socket_is_served(read: Read) -> None:
    """Clients need no token, or get it at a configured realm."""
    socket = "http: {net: unix, addr: /run/registry.sock}\n"
    users = "auth: {htpasswd: {realm: r, path: /users}}\n"
    foreign = "auth: {token: {realm: https://r, service: s, issuer: i, jwks: /j}}\n"
    for auth in (users, foreign, f"{foreign}access: {{rules: []}}\n"):
        assert read(f"version: 0.1\n{socket}{auth}").warnings == ()


def test_trusting_unix_without_a_socket_is_a_warning(read: Read) -> None:
    """No peer is a unix socket then, so the entry has no effect."""
    (warning,) = read("version: 0.1\nhttp: {trustedproxies: [10.0.0.0/8, unix]}\n").warnings
    assert "line 2: http.trustedproxies[1] unix has no effect: http.net is not unix" in warning
