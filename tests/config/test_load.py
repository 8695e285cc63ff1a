"""Sources of values and their precedence, and the files of existing registries."""

import logging
from dataclasses import FrozenInstanceError
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from registry_server.config import ConfigError, ListenAddress, Overrides, Settings
from registry_server.config.load import load
from registry_server.config.worker_count import default_workers
from registry_server.wiring.app import manifest_rules
from tests.config.conftest import Read, Refuse

DEBIAN = Path("/etc/docker/registry/config.yml")

DEVELOPMENT = """
version: 0.1
log:
  level: debug
  fields: {service: registry, environment: test}
storage:
    delete:
      enabled: true
    cache:
        blobdescriptor: inmemory
    filesystem:
        rootdirectory: /srv/registry
    maintenance:
        uploadpurging:
            enabled: false
    tag:
      concurrencylimit: 8
http:
    addr: :5000
    debug:
        addr: :5001
        prometheus: {enabled: true, path: /metrics}
    headers:
        X-Content-Type-Options: [nosniff]
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
"""

EXAMPLE_WITH_AUTH = """
version: 0.1
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: /srv/registry}
http:
  addr: :5000
auth:
  htpasswd: {realm: basic-realm, path: /etc/registry}
"""

CACHE = """
version: 0.1
storage:
    cache: {blobdescriptor: redis}
    filesystem: {rootdirectory: /srv/cache}
http: {addr: ":5000", secret: not-used}
redis:
  addr: localhost:6379
  pool: {maxidle: 16, maxactive: 64, idletimeout: 300s}
  dialtimeout: 10ms
notifications:
    endpoints:
        - name: one
          url: http://localhost:5003/callback
          headers: {Authorization: [Bearer something]}
          timeout: 1s
          threshold: 10
          backoff: 1s
          disabled: true
proxy:
  remoteurl: https://upstream.example.com
  username: ann
  password: something
"""


def test_without_a_file_it_is_a_trial_registry_on_loopback() -> None:
    """The root is ./data, only this machine can connect, clients may delete, without a warning."""
    loaded = load(None, {})
    assert loaded.settings.storage.filesystem.rootdirectory == Path("data")
    assert loaded.settings.http.listen_address == ListenAddress("127.0.0.1", 5000)
    assert loaded.settings.storage.delete.enabled is True
    assert loaded.warnings == ()


def test_loading_does_not_change_the_defaults() -> None:
    """Options and variables of one load do not affect the next."""
    before = load(None, {})
    load(None, {"REGISTRY_HTTP_ADDR": "a:1"}, Overrides("b", 2, Path("/c"), 3))
    load(None, {"REGISTRY_STORAGE_DELETE_ENABLED": "false"}, Overrides("b", 2, Path("/c"), 3))
    assert load(None, {}) == before


def test_a_file_has_distributions_defaults(read: Read) -> None:
    """A minimal file means the same as in distribution."""
    settings = read("version: 0.1\n").settings
    assert settings.storage.filesystem.rootdirectory == Path("/var/lib/registry")
    assert settings.http.listen_address == ListenAddress("", 5000)
    assert settings.storage.delete.enabled is False
    assert settings.http.draintimeout == timedelta(seconds=8)
    assert settings.http.workers == default_workers()
    assert (settings.catalog.maxentries, settings.tags.maxtags) == (1000, 0)
    assert settings.storage.maintenance.uploadpurging.age == timedelta(days=7)
    assert settings == Settings()


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(read: Read) -> None:
    """The later source wins, but only for the keys that it sets."""
    loaded = read(
        "version: 0.1\n"
        "http: {addr: '10.0.0.1:1000', workers: 3, host: https://file.example.com}\n"
        "storage: {filesystem: {rootdirectory: /file}}\n",
        {"REGISTRY_HTTP_ADDR": "10.0.0.2:2000", "REGISTRY_HTTP_WORKERS": "5"},
        Overrides(port=3000, root=Path("/line")),
    )
    assert loaded.settings.http.listen_address == ListenAddress("10.0.0.2", 3000)
    assert loaded.settings.http.workers == 5
    assert loaded.settings.http.host == "https://file.example.com"
    assert loaded.settings.storage.filesystem.rootdirectory == Path("/line")


def test_the_environment_applies_without_a_file() -> None:
    """Variables change a trial registry, and keep its other defaults."""
    settings = load(None, {"REGISTRY_STORAGE": "filesystem", "REGISTRY_LOG_LEVEL": "warn"}).settings
    assert settings.log.level == "warn"
    assert settings.storage.filesystem.rootdirectory == Path("data")
    assert settings.storage.delete.enabled is True


@pytest.mark.parametrize(
    ("net", "addr", "overrides", "expected"),
    [
        ("tcp", "a:1", Overrides(host="b"), ListenAddress("b", 1)),
        ("tcp", "a:1", Overrides(port=2), ListenAddress("a", 2)),
        ("tcp", "a:1", Overrides(host="::1", port=2), ListenAddress("::1", 2)),
        ("tcp", "a:1", Overrides(host="[::1]"), ListenAddress("::1", 1)),
        ("tcp", "a:1", Overrides(host=""), ListenAddress("", 1)),
        ("unix", "/run/x", Overrides(port=2), ListenAddress("127.0.0.1", 2)),
        ("unix", "/run/x", Overrides(host="b"), ListenAddress("b", 5000)),
        ("unix", "/run/x", Overrides(), ListenAddress(path=Path("/run/x"))),
    ],
)
def test_host_and_port_replace_their_half_of_the_address(
    read: Read, net: str, addr: str, overrides: Overrides, expected: ListenAddress
) -> None:
    """--host keeps the port, --port keeps the host, and either replaces a socket."""
    loaded = read(f"version: 0.1\nhttp: {{net: {net}, addr: '{addr}'}}\n", {}, overrides)
    assert loaded.settings.http.listen_address == expected


def test_a_development_file_of_distribution_is_accepted(read: Read) -> None:
    """Its settings apply, and those that are not implemented are warnings."""
    loaded = read(DEVELOPMENT)
    settings = loaded.settings
    assert settings.log.level == "debug"
    assert settings.log.fields == {"service": "registry", "environment": "test"}
    assert settings.storage.delete.enabled is True
    assert settings.storage.maintenance.uploadpurging.enabled is False
    assert settings.http.headers == {"X-Content-Type-Options": ("nosniff",)}
    assert [warning.split(": ")[1].split()[0] for warning in loaded.warnings] == ["http.debug"]


def test_a_file_with_access_control_is_accepted(read: Read) -> None:
    """`auth.htpasswd` of distribution's file has the same meaning."""
    htpasswd = read(EXAMPLE_WITH_AUTH).settings.auth.htpasswd
    assert htpasswd is not None
    assert (htpasswd.realm, str(htpasswd.path)) == ("basic-realm", "/etc/registry")


@pytest.mark.parametrize("auth", ["htpasswd", "{htpasswd: }", "{htpasswd: {}}", "{token: }"])
def test_incomplete_access_control_is_refused(refuse: Refuse, auth: str) -> None:
    """A way to authenticate without its required keys never leaves the registry open."""
    assert "needs" in refuse(f"version: 0.1\nauth: {auth}\n")[0]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("access:", "access"),
        ("access: {file: }", "access.file"),
        ("access: {rules: }", "access.rules"),
        ("access: {rules: [{repositories: , users: [ann], actions: [pull]}]}", "repositories"),
        ("access: {rules: [{users: [ann], actions: [pull], deny: }]}", "access.rules[0].deny"),
        ("access: {rules: [{users: [ann], actions: [~]}]}", "access.rules[0].actions[0]"),
    ],
)
def test_a_key_of_access_without_a_value_is_refused(refuse: Refuse, text: str, key: str) -> None:
    """A list whose entries are all commented out does not count as missing."""
    (problem,) = refuse(f"version: 0.1\n{text}\n")
    assert f"{key} is empty: remove the key" in problem


@pytest.mark.parametrize("name", ["REGISTRY_ACCESS", "REGISTRY_ACCESS_RULES"])
def test_an_empty_variable_for_access_is_refused(name: str) -> None:
    """Such as one from a shell variable that is not set."""
    with pytest.raises(ConfigError, match="is empty: remove the key"):
        load(None, {name: ""})


def test_a_key_that_is_set_twice_in_access_is_refused(refuse: Refuse) -> None:
    """Elsewhere it is a warning; in `access` the first value may be the one that denies."""
    rule = "{users: [ann], deny: [push], deny: [pull]}"
    (problem,) = refuse(f"version: 0.1\naccess:\n  rules:\n    - {rule}\n")
    assert problem.startswith("config.yml, line 4: access.rules[0].deny is already set on line 4")


def test_a_pull_through_cache_is_refused(refuse: Refuse) -> None:
    """A cache must not start as an empty registry."""
    (problem,) = refuse(CACHE)
    assert problem.startswith("config.yml, line 21: proxy.remoteurl is not implemented yet")


def test_the_same_file_without_its_upstream_is_accepted(read: Read) -> None:
    """What remains has no effect, and each section is a warning."""
    loaded = read(CACHE.replace("remoteurl: https://upstream.example.com", "ttl: 168h"))
    named = {warning.split(": ")[1].split()[0] for warning in loaded.warnings}
    assert named == {"redis", "storage.cache.blobdescriptor"}


@pytest.mark.skipif(not DEBIAN.is_file(), reason="Debian's docker-registry is not installed")
def test_debians_own_file_is_accepted(read: Read) -> None:
    """Its `auth.htpasswd` applies."""
    assert read(DEBIAN.read_text()).settings.auth.htpasswd is not None


@pytest.mark.skipif(not DEBIAN.is_file(), reason="Debian's docker-registry is not installed")
def test_debians_own_file_without_access_control_is_accepted(read: Read) -> None:
    """It has Debian's root."""
    settings = read(DEBIAN.read_text(), {"REGISTRY_AUTH": "none"}).settings
    assert settings.storage.filesystem.rootdirectory == Path("/var/lib/docker-registry")
    assert settings.storage.delete.enabled is True


def test_every_value_is_typed(read: Read) -> None:
    """Each kind of value is converted to its type."""
    settings = read(
        "version: '0.1'\n"
        "log: {level: WARN, formatter: logstash, reportcaller: on, accesslog: {disabled: yes}}\n"
        "storage: {filesystem: {maxthreads: 3, fsync: no}, maintenance: {readonly: {enabled: y}}}\n"
        "http:\n"
        "  host: https://registry.example.com/\n"
        "  prefix: registry\n"
        "  relativeurls: false\n"
        "  draintimeout: 1m30s\n"
        "  trustedproxies: [10.1.2.3/8, '::1']\n"
        "  tls: {certificate: /c, key: /k, clientcas: [/ca], minimumtls: tls1.3}\n"
        "catalog: {maxentries: -1}\n"
        "tags: {maxtags: 50}\n"
        "validation: {manifests: {indexes: {platforms: List, platformlist: [{os: linux}]}}}\n"
    ).settings
    assert (settings.log.level, settings.log.formatter) == ("warn", "logstash")
    assert settings.log.reportcaller is settings.log.accesslog.disabled is True
    assert settings.storage.filesystem.maxthreads == 25
    assert settings.storage.filesystem.fsync is False
    assert settings.storage.maintenance.readonly.enabled is True
    assert settings.http.host == "https://registry.example.com"
    assert settings.http.prefix == "/registry/"
    assert settings.http.relativeurls is False
    assert settings.http.draintimeout == timedelta(seconds=90)
    assert settings.http.trustedproxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert settings.http.tls.clientcas == (Path("/ca"),)
    assert settings.http.tls.minimumtls == "tls1.3"
    assert (settings.catalog.maxentries, settings.tags.maxtags) == (1000, 50)
    assert settings.validation.manifests.indexes.platforms == "list"
    assert settings.validation.manifests.indexes.platformlist[0].os == "linux"


def test_texts_that_look_like_numbers_stay_as_they_were_written(read: Read) -> None:
    """YAML's types do not apply to keys that are text in the schema."""
    settings = read("version: 0.1\nhttp: {secret: 0123}\nlog: {fields: {build: 1_0, on: 1:30}}\n")
    assert settings.settings.http.secret.text == "0123"
    assert settings.settings.log.fields == {"build": "1_0", "on": "1:30"}


def test_settings_are_frozen(read: Read) -> None:
    """An attribute cannot be set."""
    settings = read("version: 0.1\n").settings
    with pytest.raises(FrozenInstanceError):
        settings.log.level = "debug"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("loglevel: error", "error"),
        ("loglevel: error\nlog: {level: debug}", "debug"),
        ("loglevel: error\nlog: {formatter: json}", "error"),
    ],
)
def test_the_deprecated_loglevel_applies_without_log_level(
    read: Read, text: str, level: str
) -> None:
    """Old files keep their level and get a warning."""
    loaded = read(f"version: 0.1\n{text}\n")
    assert loaded.settings.log.level == level
    assert loaded.warnings[0].endswith("line 2: loglevel is deprecated: use log.level")
    assert logging.getLevelName(level.upper())


def test_short_forms_are_expanded(read: Read) -> None:
    """A driver's name means its defaults, and a key without a value counts as missing."""
    settings = read(
        "version: 0.1\nstorage: filesystem\nauth: none\nhttp:\n  addr:\nlog:\nproxy: {ttl: }\n"
    ).settings
    assert settings.storage == Settings().storage
    assert settings.http.addr == ":5000"


def test_anchors_aliases_and_merges_are_supported(read: Read) -> None:
    """A merged mapping adds the keys that the mapping itself lacks; the first one wins."""
    settings = read(
        "version: 0.1\n"
        "log:\n"
        "  fields: &a {one: '1', two: '1'}\n"
        "  accesslog: {disabled: true}\n"
        "http:\n"
        "  headers: {X-A: &v [x], X-B: *v}\n"
        "storage:\n"
        "  delete: &on {enabled: true}\n"
        "  maintenance:\n"
        "    readonly: {<<: *on}\n"
        "    uploadpurging: {<<: [{enabled: false, age: 1h}, *on], age: 2h}\n"
    ).settings
    assert settings.http.headers == {"X-A": ("x",), "X-B": ("x",)}
    assert settings.storage.maintenance.readonly.enabled is True
    assert settings.storage.maintenance.uploadpurging.enabled is False
    assert settings.storage.maintenance.uploadpurging.age == timedelta(hours=2)


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """Some editors write one."""
    path = tmp_path / "config.yml"
    path.write_bytes(b"\xef\xbb\xbfversion: 0.1\n")
    assert load(path, {}).settings == Settings()


@pytest.mark.parametrize(
    ("section", "active"),
    [
        ("{}", True),
        ("{disabled: true}", False),
        ("{enabled: true}", True),
        ("{enabled: true, disabled: true}", True),
        ("{enabled: false}", True),
    ],
)
def test_validation_is_on_unless_it_is_disabled(read: Read, section: str, active: bool) -> None:
    """The old key and the new one combine as in distribution."""
    assert read(f"version: 0.1\nvalidation: {section}\n").settings.validation.active is active


@pytest.mark.parametrize(
    ("rules", "url", "permitted"),
    [
        ("{}", "https://any.example.com/x", True),
        (r"{allow: ['^https?://([^/]+\.)*example\.com/']}", "https://a.example.com/x", True),
        (r"{allow: ['^https?://([^/]+\.)*example\.com/']}", "https://example.org/x", False),
        (r"{deny: ['^http:']}", "http://example.com/x", False),
        (r"{deny: ['^http:']}", "https://example.com/x", True),
        (r"{allow: [example], deny: ['^http:']}", "http://example.com/x", False),
        ("{allow: [one, two]}", "https://two/", True),
        ("{allow: ['^https://[[:alnum:].-]+/']}", "https://a.b-1/", True),
        ("{allow: ['^https://[[:alnum:].-]+/']}", "https://a_b/", False),
        ("{deny: ['^[^[:upper:]]+$']}", "https://a/", False),
        ("{deny: ['^[^[:upper:]]+$']}", "https://A/", True),
    ],
)
def test_urls_are_permitted_by_allow_and_deny(
    read: Read, rules: str, url: str, permitted: bool
) -> None:
    """A URL must match an allow expression, if there are any, and no deny expression."""
    settings = read(f"version: 0.1\nvalidation: {{manifests: {{urls: {rules}}}}}\n").settings
    assert manifest_rules(settings).urls.permits(url) is permitted
