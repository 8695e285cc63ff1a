"""Every key can be set by a variable, and unrelated variables do not prevent a start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import ConfigError, key_tree
from registry_server.config.environment import resolve
from registry_server.config.load import load
from tests.config.conftest import Read, Refuse

KUBERNETES = {
    "REGISTRY_PORT": "tcp://10.0.0.1:5000",
    "REGISTRY_PORT_5000_TCP": "tcp://10.0.0.1:5000",
    "REGISTRY_PORT_5000_TCP_ADDR": "10.0.0.1",
    "REGISTRY_PORT_5000_TCP_PORT": "5000",
    "REGISTRY_PORT_5000_TCP_PROTO": "tcp",
    "REGISTRY_SERVICE_HOST": "10.0.0.1",
    "REGISTRY_SERVICE_PORT": "5000",
    "REGISTRY_SERVICE_PORT_HTTP": "5000",
    "REGISTRY_NAME": "/web/registry",
    "REGISTRY_ENV_PATH": "/bin",
    "REGISTRY_AUTH_PORT": "tcp://10.0.0.2:5001",
    "REGISTRY_AUTH_PORT_5001_TCP_ADDR": "10.0.0.2",
    "REGISTRY_AUTH_SERVICE_HOST": "10.0.0.2",
    "REGISTRY_AUTH_SERVICE_PORT": "5001",
    "REGISTRY_HTTP_SERVICE_HOST": "10.0.0.3",
    "REGISTRY_HTTP_PORT_80_TCP": "tcp://10.0.0.3:80",
    "REGISTRY_REDIS_PORT": "tcp://10.0.0.4:6379",
    "REGISTRY_STORAGE_SERVICE_PORT": "9000",
}


def _variable(key: tuple[str, ...]) -> str:
    parts = ("0" if part == key_tree.ITEM else part for part in key)
    return "REGISTRY_" + "_".join(parts).upper()


@pytest.mark.parametrize("key", list(key_tree.leaves()), ids=".".join)
def test_every_key_has_its_variable(key: tuple[str, ...]) -> None:
    """The variable built from a key's path sets that key."""
    expected = tuple(0 if part == key_tree.ITEM else part for part in key)
    assert resolve(_variable(key)) == expected


def test_a_value_is_yaml(read: Read) -> None:
    """It may be a scalar, a list, a mapping or a whole section."""
    loaded = read(
        "version: 0.1\nhttp: {addr: ':1', workers: 4}\n",
        {
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/env",
            "REGISTRY_STORAGE_DELETE_ENABLED": "true",
            "REGISTRY_HTTP_HEADERS": "{X-A: [one, two]}",
            "REGISTRY_LOG": "{level: debug, fields: {a: b}}",
            "REGISTRY_HTTP_SECRET": '"quoted"',
        },
    )
    settings = loaded.settings
    assert str(settings.storage.filesystem.rootdirectory) == "/env"
    assert settings.storage.delete.enabled is True
    assert settings.http.headers == {"X-A": ("one", "two")}
    assert settings.http.workers == 4
    assert settings.log.level == "debug"
    assert settings.http.secret.text == "quoted"
    assert loaded.warnings == ()


def test_a_section_is_applied_before_its_keys(read: Read) -> None:
    """Setting the driver and then its parameters sets both, whatever the file has."""
    settings = read(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /file}, delete: {enabled: true}}\n",
        {
            "REGISTRY_STORAGE_FILESYSTEM_MAXTHREADS": "50",
            "REGISTRY_STORAGE": "filesystem",
        },
    ).settings
    assert str(settings.storage.filesystem.rootdirectory) == "/var/lib/registry"
    assert settings.storage.filesystem.maxthreads == 50
    assert settings.storage.delete.enabled is False


def test_an_empty_variable_restores_the_default(read: Read) -> None:
    """An empty value is YAML's null."""
    settings = read(
        "version: 0.1\nhttp: {addr: ':1'}\nlog: {level: debug}\n",
        {"REGISTRY_HTTP_ADDR": "", "REGISTRY_LOG_LEVEL": ""},
    ).settings
    assert settings.http.addr == ":5000"
    assert settings.log.level == "info"


def test_the_case_of_headers_and_fields_is_kept(read: Read) -> None:
    """Underscores become a header's hyphens, and an index selects one of its values."""
    settings = read(
        "version: 0.1\nhttp: {headers: {X-One: [a, b]}}\nlog: {fields: {Service: x}}\n",
        {
            "REGISTRY_HTTP_HEADERS_X_ONE_1": "c",
            "REGISTRY_HTTP_HEADERS_X_TWO": "[d]",
            "REGISTRY_HTTP_HEADERS_X-THREE": "[e]",
            "REGISTRY_LOG_FIELDS_SERVICE": "y",
            "REGISTRY_LOG_FIELDS_MY_FIELD": "z",
        },
    ).settings
    assert settings.http.headers == {"X-One": ("a", "c"), "x-two": ("d",), "x-three": ("e",)}
    assert settings.log.fields == {"Service": "y", "my_field": "z"}


def test_an_index_replaces_or_adds_an_item(read: Read, refuse: Refuse) -> None:
    """Items of a list can be set, up to the first free index."""
    text = "version: 0.1\nhttp: {trustedproxies: [10.0.0.0/8]}\n"
    settings = read(
        text,
        {
            "REGISTRY_HTTP_TRUSTEDPROXIES_0": "192.168.0.0/16",
            "REGISTRY_HTTP_TRUSTEDPROXIES_1": "::1",
            "REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMLIST_0_OS": "linux",
        },
    ).settings
    assert [str(network) for network in settings.http.trustedproxies] == [
        "192.168.0.0/16",
        "::1/128",
    ]
    assert settings.validation.manifests.indexes.platformlist[0].os == "linux"
    (problem,) = refuse(text, {"REGISTRY_HTTP_TRUSTEDPROXIES_7": "::1"})
    assert problem.startswith("REGISTRY_HTTP_TRUSTEDPROXIES_7: http.trustedproxies[7] cannot be")


@pytest.mark.parametrize("name", sorted(KUBERNETES))
def test_an_injected_variable_is_a_warning(name: str) -> None:
    """What Kubernetes and Docker set for a service with the name registry changes nothing."""
    loaded = load(None, {name: KUBERNETES[name]})
    assert loaded.settings == load(None, {}).settings
    assert loaded.warnings == (f"{name} is ignored: it names no known key",)


@pytest.mark.parametrize("name", ["REGISTRY_FOO_BAR", "REGISTRY_", "REGISTRY__", "REGISTRY_HTTP_X"])
def test_an_unknown_variable_is_a_warning(name: str) -> None:
    """A variable that matches no key is reported and changes nothing."""
    loaded = load(None, {name: "[not: yaml"})
    assert loaded.settings == load(None, {}).settings
    assert loaded.warnings == (f"{name} is ignored: it names no known key",)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTRY", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
        ("REGISTRY_STORAGE_DELETE_ENABLE", "REGISTRY_STORAGE_DELETE_ENABLED"),
        ("REGISTRY_http_addr", "REGISTRY_HTTP_ADDR"),
    ],
)
def test_a_misspelt_variable_gets_a_suggestion(name: str, near: str) -> None:
    """The nearest name is shown, and the variable is ignored, as in registry:2."""
    loaded = load(None, {name: "x"})
    assert loaded.settings == load(None, {}).settings
    (warning,) = loaded.warnings
    assert warning == f"{name} is ignored: it names no known key: did you mean {near}?"


def test_variables_of_other_programs_are_ignored() -> None:
    """Only those with the prefix REGISTRY_ are used."""
    assert load(None, {"PATH": "/bin", "registry_http_addr": "x", "REGISTRYHTTP": "x"}) == load(
        None, {}
    )


def test_the_version_cannot_be_set_by_a_variable(read: Read) -> None:
    """Many images set REGISTRY_VERSION to the version of a program; it is ignored."""
    (warning,) = read("version: 0.1\n", {"REGISTRY_VERSION": "2.8.3"}).warnings
    assert warning.startswith("REGISTRY_VERSION is ignored")


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("REGISTRY_AUTH_HTPASWD_PATH", "auth"),
        ("REGISTRY_AUTH_HTPASSWD_REALMS", "auth"),
        ("REGISTRY_AUTH_LDAP", "auth"),
        ("REGISTRY_ACCESS_RULE", "access"),
    ],
)
def test_a_misspelt_variable_for_access_control_is_an_error(name: str, section: str) -> None:
    """A typo does not disable access control."""
    with pytest.raises(ConfigError, match=f"{name} names no known key of {section}"):
        load(None, {name: "/x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGISTRY_ACCESS", "{rules: [{deny: [pull], anonymous: true}], rules: []}"),
        ("REGISTRY_AUTH", "{htpasswd: {realm: a, path: b}, htpasswd: {path: c}}"),
        ("REGISTRY_ACCESS_RULES", "[]\n---\n[{deny: [pull]}]"),
    ],
)
def test_a_variable_for_access_control_must_not_set_a_key_twice(name: str, value: str) -> None:
    """As in the file: the first value may be the one that denies."""
    with pytest.raises(ConfigError, match=name):
        load(None, {name: value})


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("REGISTRY_AUHT_HTPASSWD_PATH", "REGISTRY_AUTH_HTPASSWD_PATH"),
        ("REGISTRY_HTTP_AUTH_HTPASSWD_PATH", "REGISTRY_AUTH_HTPASSWD_PATH"),
        ("REGISTRY_HTTP_TSL_CERTIFICATE", "REGISTRY_HTTP_TLS_CERTIFICATE"),
        ("REGISTRY_TLS_CERTIFICATE", "REGISTRY_HTTP_TLS_CERTIFICATE"),
    ],
)
def test_a_variable_that_was_meant_for_a_missing_guarded_section_is_an_error(
    name: str, near: str
) -> None:
    """Like a misspelt section in the file. If the section is set, it is a warning."""
    with pytest.raises(ConfigError, match=f"{name} names no known key: did you mean {near}?"):
        load(None, {name: "/x"})
    others = {"REGISTRY_AUTH": "none", "REGISTRY_HTTP_TLS_MINIMUMTLS": "tls1.2"}
    (warning,) = load(None, {name: "/x", **others}).warnings
    assert warning.startswith(f"{name} is ignored")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("REGISTRY_HTTP_ADDR", "x", "REGISTRY_HTTP_ADDR: http.addr must be host:port"),
        ("REGISTRY_HTTP_ADDR", "[x", "REGISTRY_HTTP_ADDR: is not YAML"),
        ("REGISTRY_HTTP_ADDR", "\udcff", "REGISTRY_HTTP_ADDR: is not YAML"),
        ("REGISTRY_HTTP_ADDR_X", "x", ""),
        ("REGISTRY_HTTP", "x", "REGISTRY_HTTP: http must be a mapping"),
        ("REGISTRY_HTTP", "{tls: {crt: x}}", "REGISTRY_HTTP: http.tls.crt is not a known key"),
        ("REGISTRY_AUTH", "htpasswd", "REGISTRY_AUTH: auth.htpasswd needs path"),
        ("REGISTRY_AUTH_HTPASSWD", "", "REGISTRY_AUTH_HTPASSWD: auth.htpasswd needs path"),
        ("REGISTRY_AUTH_TOKEN_REALM", "x", "REGISTRY_AUTH_TOKEN_REALM: auth.token needs service"),
        ("REGISTRY_STORAGE", "s3", "REGISTRY_STORAGE: storage.s3 is not implemented yet"),
        ("REGISTRY_STORAGE_S3_BUCKET", "x", "REGISTRY_STORAGE_S3_BUCKET: storage.s3 is not impl"),
        ("REGISTRY_PROXY_REMOTEURL", "x", "REGISTRY_PROXY_REMOTEURL: proxy.remoteurl is not impl"),
    ],
)
def test_an_invalid_value_is_reported_with_its_variable(
    name: str, value: str, problem: str
) -> None:
    """The message has the variable, then the key."""
    if not problem:
        assert load(None, {name: value}).warnings
        return
    with pytest.raises(ConfigError) as caught:
        load(None, {name: value})
    assert caught.value.problems[0].startswith(problem)


def test_all_invalid_variables_are_reported_together() -> None:
    """Each variable that cannot be parsed has its line."""
    with pytest.raises(ConfigError) as caught:
        load(None, {"REGISTRY_HTTP_ADDR": "[", "REGISTRY_LOG_LEVEL": "["})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "REGISTRY_HTTP_ADDR",
        "REGISTRY_LOG_LEVEL",
    ]


@given(st.sampled_from([key for key in key_tree.leaves() if key_tree.ITEM not in key]), st.text())
def test_any_value_of_any_variable_is_read_or_refused(key: tuple[str, ...], value: str) -> None:
    """No value of a known variable raises another exception."""
    problems: tuple[str, ...] = ()
    try:
        load(None, {_variable(key): value})
    except ConfigError as error:
        problems = error.problems
    assert all(problem.startswith((_variable(key), "http.tls.")) for problem in problems)


@pytest.mark.parametrize("name", ["REGISTRY_HTTP_TLS", "REGISTRY_HTTP"])
def test_a_variable_that_empties_tls_is_a_warning(read: Read, name: str) -> None:
    """Distribution then serves without TLS, and so does this registry. The variable is named."""
    file = "version: 0.1\nhttp: {tls: {certificate: /a.crt, key: /a.key}}\n"
    loaded = read(file, {name: ""})
    assert loaded.settings.http.tls.certificate is None
    assert f"{name}: http.tls is emptied by this variable" in "\n".join(loaded.warnings)
    assert "is emptied" not in "\n".join(read("version: 0.1\n", {name: ""}).warnings)


def test_the_message_about_podmans_variable_names_podman(refuse: Refuse) -> None:
    """It looks like an unknown key of `auth`, where unknown keys are errors."""
    (problem,) = refuse("version: 0.1\n", {"REGISTRY_AUTH_FILE": "/run/auth.json"})
    assert "podman" in problem


def test_the_hint_for_an_unknown_key_lists_a_short_section(refuse: Refuse) -> None:
    """The nearest key would be a guess."""
    (problem,) = refuse("version: 0.1\nauth: false\n")
    assert problem.endswith("known under auth are none, silly, token and htpasswd")
