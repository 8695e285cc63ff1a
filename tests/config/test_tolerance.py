"""Mistakes that registry:2 ignores are warnings, and the registry starts."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry_server.config import ConfigError
from registry_server.config.load import load
from tests.config.conftest import Read, Refuse
from tests.support.processes import free_port
from tests.support.tools import require_tool

SECONDS = 30.0
HTTP = "http: {addr: '127.0.0.1:PORT'}"
FILE = "storage: {filesystem: {rootdirectory: ROOT}}"
BOTH = f"{FILE}\n{HTTP}"


def storage(more: str) -> str:
    """Return a storage section with the test's root and other keys."""
    return f"storage: {{filesystem: {{rootdirectory: ROOT}}, {more}}}\n{HTTP}"


def web(more: str) -> str:
    """Return an http section with the test's address and other keys."""
    return f"{FILE}\nhttp: {{addr: '127.0.0.1:PORT', {more}}}"


NO_BOOLEAN = "is not a YAML boolean and counts as"
IGNORED = "is not a known key and is ignored: "

# Files that registry:2 starts with, and the warning of this registry, or None.
SHRUGGED = [
    (f"{BOTH}\ndatabase: {{enabled: true}}", f"line 4: database {IGNORED}"),
    (f"{BOTH}\nextensions: {{search: {{enable: true}}}}", f"line 4: extensions {IGNORED}"),
    (f"{BOTH}\ngc: {{disabled: true}}", f"line 4: gc {IGNORED}"),
    (f"{BOTH}\n'[key]': 1", f"line 4: [key] {IGNORED}"),
    (f"{BOTH}\nredis: {{addr: a, enableTLS: true}}", f"line 4: redis.enableTLS {IGNORED}"),
    (
        f"{BOTH}\nhealth:\n  storagedriver: {{enabled: true}}\n  threshold: 3",
        f"line 6: health.threshold {IGNORED}did you mean",
    ),
    (web("threshold: 3"), f"line 3: http.threshold {IGNORED}did you mean"),
    (
        "storage: {filesystem: {rootdirectory: ROOT, rootdirectry: x}}\n" + HTTP,
        f"{IGNORED}did you mean storage.filesystem.rootdirectory?",
    ),
    (f"{BOTH}\nredis: {{tls: true}}", "line 4: redis.tls must be a mapping; it is ignored"),
    (f"{BOTH}\ntags: {{maxtags: x}}", "tags.maxtags must be a whole number; it is ignored"),
    (storage("cache: {blobdescriptor: [a]}"), "storage.cache.blobdescriptor must be text"),
    (storage("cache: {blobdescriptor: redis}") + "\nredis: {addr: a}", "redis has no effect"),
    (storage("cache: "), None),
    (storage("delete: , maintenance: "), None),
    (storage("delete: {enabled: 1}"), f"storage.delete.enabled {NO_BOOLEAN} false"),
    (storage("delete: {enabled: 'true'}"), f"storage.delete.enabled {NO_BOOLEAN} false"),
    (storage("delete: {enabled: Yes}"), None),
    (storage("delete: {enabled: y}"), None),
    (
        storage(
            "maintenance: {uploadpurging: {enabled: 'false', age: 1h, interval: 1h, dryrun: false}}"
        ),
        f"storage.maintenance.uploadpurging.enabled {NO_BOOLEAN} true",
    ),
    (
        storage("maintenance: {uploadpurging: {enabled: false, age: 10}}"),
        "storage.maintenance.uploadpurging.age needs a unit, such as 168h or 30m; it is ignored",
    ),
    (
        f"{BOTH}\nvalidation: {{disabled: true, manifests: {{urls: {{allow: ['(']}}}}}}",
        "validation.manifests.urls.allow must be a regular expression",
    ),
    (web("host: registry.example.com"), "http.host must be a full URL"),
    (web("host: 'registry.example.com:5000'"), "http.host must be a full URL"),
    (web("headers: {'X A': [b]}"), "http.headers.X A is not a valid name"),
    (web("headers: {content-length: ['3']}"), "http.headers.content-length must be removed"),
    (web("headers: {Transfer-Encoding: [b]}"), "http.headers.Transfer-Encoding must be removed"),
    (web(r'headers: {X-A: ["a\nb\n"]}'), None),
    (web("tls: {certificate: '', key: ''}"), None),
    (web("draintimeout: -1s"), "http.draintimeout is negative and counts as 0"),
    (f"{FILE}\nhttp:\n  addr:\t127.0.0.1:PORT\t# a comment", None),
    (f"{BOTH}\nlog: {{hooks: [{{type: mail, disabled: true}}]}}", None),
    (f"{BOTH}\nhealth: {{storagedriver: {{enabled: true, interval: 10s, threshold: 3}}}}", None),
    (f"{BOTH}\nnotifications: {{endpoints: [{{name: n, url: 'http://a', disabled: true}}]}}", None),
    (f"{BOTH}\nauth: None", None),
    (f"{BOTH}\nauth:", "auth is empty"),
    (f"{BOTH}\n---\nnot: [YAML", "line 4: a second document begins here"),
    (
        f"{BOTH}\nhttp: {{host: 'https://a.example'}}",
        "line 4: http is already set on line 3; the two are merged",
    ),
    (f"{BOTH}\ncatalog: {{maxentries: 0x40}}", None),
    (f"{BOTH}\na: &x 1\nb: &x 2", f"line 4: a {IGNORED}"),
]
# Files that registry:2 starts with, without doing what was intended.
OPENED = [
    (f"{BOTH}\nauht: {{htpasswd: {{realm: a, path: b}}}}", "did you mean auth?"),
    (f"{BOTH}\nAuth: {{htpasswd: {{realm: a, path: b}}}}", "did you mean auth?"),
    (f"{BOTH}\nauth:\nhtpasswd: {{realm: a, path: b}}", "did you mean auth.htpasswd?"),
    (f"{BOTH}\ntls: {{certificate: c, key: k}}", "did you mean http.tls?"),
    (web("tsl: {certificate: c, key: k}"), "did you mean http.tls?"),
    (web("certificate: c, key: k"), "did you mean http.tls.certificate?"),
    (web("tls: {clientca: [c]}"), "did you mean http.tls.clientcas?"),
    (f"{BOTH}\nHTTP: {{tls: {{certificate: c, key: k}}}}", "did you mean http.tls?"),
    (f"{BOTH}\nhttps: {{certificate: c, key: k}}", "did you mean http.tls?"),
    (f"{BOTH}\nauthentication: {{htpasswd: {{realm: a, path: b}}}}", "did you mean auth?"),
    (f"{BOTH}\nlog: {{auth: {{htpasswd: {{realm: a, path: b}}}}}}", "log.auth is not"),
    (web("auth: {htpasswd: {realm: a, path: b}}"), "did you mean auth?"),
    (web("auth: {token: {realm: a, service: b, issuer: c}}"), "did you mean auth?"),
    (web("access: {rules: []}"), "did you mean access?"),
    (f"{BOTH}\nrules: [{{users: [ann], actions: [pull]}}]", "did you mean access.rules?"),
    (web("http2: {disabled: true, tls: {certificate: c, key: k}}"), "did you mean http.tls?"),
    (web("ssl: {certificate: c, key: k}"), "did you mean http.tls?"),
]


def write(folder: Path, text: str, port: int) -> Path:
    """Write a configuration with this address and a root that does not exist."""
    path = folder / "config.yml"
    filled = text.replace("PORT", str(port)).replace("ROOT", str(folder / "root"))
    path.write_text(f"version: 0.1\n{filled}\n")
    return path


def serves(config: Path, port: int) -> bool:
    """Tell whether Debian's docker-registry answers `/v2/` with a configuration."""
    command = [require_tool("docker-registry"), "serve", str(config)]
    environ = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while process.poll() is None and time.monotonic() < deadline:
                if _answers(port):
                    return True
                time.sleep(0.02)
            return False
        finally:
            process.kill()


def _answers(port: int) -> bool:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        asking.request("GET", "/v2/")
        return asking.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        asking.close()


@pytest.mark.live
@pytest.mark.parametrize(("text", "warning"), SHRUGGED)
def test_a_file_that_registry_2_starts_with_is_accepted(
    tmp_path: Path, text: str, warning: str | None
) -> None:
    """Both registries start with the file, and this one warns about the mistake."""
    port = free_port()
    config = write(tmp_path, text, port)
    assert serves(config, port)
    warnings = load(config, {}).warnings
    if warning is None:
        assert warnings == ()
    else:
        assert any(warning in line and str(config) in line for line in warnings), warnings


@pytest.mark.live
@pytest.mark.parametrize(("text", "problem"), OPENED)
def test_a_mistake_that_opens_the_registry_is_an_error(
    tmp_path: Path, text: str, problem: str
) -> None:
    """registry:2 serves unprotected; here one line names the intended key."""
    port = free_port()
    config = write(tmp_path, text, port)
    assert serves(config, port)
    with pytest.raises(ConfigError, match="is not a known key") as caught:
        load(config, {})
    assert problem in caught.value.problems[0]


def test_a_key_beside_the_section_it_resembles_is_a_warning(read: Read) -> None:
    """An anchor may have such a name; the section itself is set."""
    text = "x-auth: &users {htpasswd: {realm: a, path: b}}\nauth: *users"
    loaded = read(f"version: 0.1\n{text}\n")
    assert loaded.settings.auth.htpasswd is not None
    assert any("x-auth is not a known key and is ignored" in each for each in loaded.warnings)


def test_tls_of_the_debug_server_of_another_product_is_a_warning(read: Read) -> None:
    """GitLab's registry has `http.debug.tls`, which does not affect the registry's own port."""
    loaded = read("version: 0.1\nhttp: {debug: {tls: {enabled: true, certificate: c, key: k}}}\n")
    assert any("http.debug.tls is not a known key" in each for each in loaded.warnings)


@pytest.mark.parametrize("again", ["http:", "http: {tls: }", "http: {tls: {}}"])
def test_tls_that_a_second_section_empties_is_an_error(refuse: Refuse, again: str) -> None:
    """The first section sets TLS; plain HTTP is not intended."""
    (said,) = refuse(f"version: 0.1\nhttp: {{tls: {{certificate: c, key: k}}}}\n{again}\n")
    assert "http is already set on line 2, and here TLS is empty" in said


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("storage: {filesystem: , rootdirectory: /x}", "did you mean storage.filesystem.root"),
        (
            "storage: {filesystem: {}, readonly: {enabled: true}}",
            "storage.readonly is not a known key: did you mean storage.maintenance.readonly?",
        ),
        ("storge: {filesystem: {}}", "storge is not a known key: did you mean storage?"),
        ("storage: {filesytem: {}}", "storage.filesytem is not a known key: did you mean"),
        ("storage: {rados: {}}", "storage.rados is not a known key"),
        ("storage: {rados: {}, delete: {enabled: true}}", "storage.rados is not a known key"),
        (
            "storage: {filesystem: {rootdirectory: /x}}\nstorage: {delete: {enabled: true}}",
            "storage is already set on line 2, and here it has no driver",
        ),
    ],
)
def test_an_ambiguous_storage_is_an_error(refuse: Refuse, text: str, problem: str) -> None:
    """The default root is never served instead of the intended images."""
    (said,) = refuse(f"version: 0.1\n{text}\n")
    assert problem in said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("health: {storagedriver: {threshold: many}}", "health.storagedriver.threshold"),
        ("notifications: {endpoints: {a: b}}", "notifications.endpoints"),
        ("notifications: {endpoints: [{nam: x}]}", "notifications.endpoints[0].nam"),
        ("reporting: {bugsnag: [x]}", "reporting.bugsnag"),
        ("compatibility: [x]", "compatibility"),
        ("http: {debug: {addr: [x]}}", "http.debug.addr"),
        ("log: {hooks: [x, {levels: y}]}", "log.hooks"),
        ("middleware: {storage: {}}", "middleware.storage"),
        ("storage: {filesystem: {}, redirect: {disable: x}}", "storage.redirect.disable"),
        ("storage: {filesystem: {}, tag: {concurrencylimit: x}}", "storage.tag.concurrencylimit"),
        ("proxy: {ttl: [x]}", "proxy.ttl"),
        (r'"a\nb": 1', r"'a\nb'"),
        ("? " + "x" * 500 + "\n: 1", "x..."),
        ("'': 1", "''"),
        ("a: !!python/object:os.system {}", "a"),
    ],
)
def test_an_invalid_value_without_effect_is_ignored(read: Read, text: str, key: str) -> None:
    """The warning names the key."""
    warnings = read(f"version: 0.1\n{text}\n").warnings
    named = (line for line in warnings if f"line 2: {key}" in line or f"{key} is not" in line)
    assert "ignored" in next(named)


def test_a_proxy_that_is_no_mapping_is_an_error(refuse: Refuse) -> None:
    """Its upstream would be ignored, and an empty registry would accept pushes."""
    assert "proxy must be a mapping" in refuse("version: 0.1\nproxy: https://a.example\n")[0]


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("true", True), ("True", True), ("yes", True), ("on", True), ("1", False), ('"true"', False)],
)
def test_a_variable_is_a_yaml_boolean_or_a_warning(read: Read, value: str, enabled: bool) -> None:
    """As in registry:2, only a YAML boolean without quotes enables deletion."""
    loaded = read("version: 0.1\n", {"REGISTRY_STORAGE_DELETE_ENABLED": value})
    assert loaded.settings.storage.delete.enabled is enabled
    expected = () if enabled else ("REGISTRY_STORAGE_DELETE_ENABLED: storage.delete.enabled",)
    assert tuple(line.split(f" {NO_BOOLEAN}")[0] for line in loaded.warnings) == expected


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("1", True), ("'true'", True), ("'0'", False), ("t", True), ("'off'", False)],
)
def test_a_boolean_that_registry_2_refuses_gets_the_intended_value(
    read: Read, value: str, enabled: bool
) -> None:
    """It is a warning."""
    loaded = read(f"version: 0.1\nstorage: {{maintenance: {{readonly: {{enabled: {value}}}}}}}\n")
    assert loaded.settings.storage.maintenance.readonly.enabled is enabled
    assert NO_BOOLEAN in loaded.warnings[0]


@pytest.mark.parametrize(
    ("written", "number"),
    [("0x40", 64), ("0100", 64), ("0b11", 3), ("1_000", 1000), ("1e2", 100), ("7.9", 7), ("+5", 5)],
)
def test_every_yaml_form_of_a_number_is_accepted(read: Read, written: str, number: int) -> None:
    """A fraction is dropped."""
    loaded = read(f"version: 0.1\ncatalog: {{maxentries: {written}}}\n")
    assert loaded.settings.catalog.maxentries == number


def test_two_sections_with_the_same_name_are_merged(read: Read) -> None:
    """As in registry:2, nothing of the first one is lost, including TLS."""
    loaded = read(
        "version: 0.1\n"
        "http: {addr: ':1', tls: {certificate: /c, key: /k}, headers: {X-A: [a]}}\n"
        "http: {addr: ':2', tls: {clientcas: [/a]}, headers: {X-B: [b]}}\n"
    )
    http = loaded.settings.http
    assert (http.addr, set(http.headers)) == (":2", {"X-A", "X-B"})
    assert (str(http.tls.certificate), len(http.tls.clientcas)) == ("/c", 1)


def test_the_last_of_two_storage_sections_is_used(read: Read) -> None:
    """As in registry:2, the keys of the first one are dropped."""
    loaded = read("version: 0.1\nstorage: {delete: {enabled: true}}\nstorage: {filesystem: {}}\n")
    assert loaded.settings.storage.delete.enabled is False
    assert "line 3: storage is already set on line 2; the last one is used" in loaded.warnings[0]


def test_json_with_tabs_is_accepted(read: Read) -> None:
    """JSON is YAML, even if it is indented with tabs."""
    text = '{\n\t"version": "0.1",\n\t"http":\t{"addr": ":1"}\n}\n'
    assert read(text).settings.http.addr == ":1"


def test_a_warning_is_available_in_parts(read: Read, tmp_path: Path) -> None:
    """The file, the line number, the key and the text."""
    loaded = read("version: 0.1\ngc: 1\n")
    (notice,) = loaded.notices
    assert (notice.place.source, notice.place.line) == (str(tmp_path / "config.yml"), 2)
    assert (notice.key, str(notice)) == ("gc", loaded.warnings[0])


@pytest.mark.parametrize(
    ("text", "environ", "enabled", "warned"),
    [
        ("", {}, True, True),
        ("storage: {filesystem: {}}", {}, True, True),
        ("storage: filesystem", {}, True, True),
        ("storage: {filesystem: {}, delete: {enabled: false}}", {}, False, False),
        ("storage: {filesystem: {}, delete: {enabled: true}}", {}, True, False),
        ("storage: {filesystem: {}}", {"REGISTRY_STORAGE_DELETE_ENABLED": "false"}, False, False),
    ],
)
def test_in_the_folder_of_registry_3_deletion_is_on_by_default(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    environ: dict[str, str],
    enabled: bool,
    warned: bool,
) -> None:
    """The file of that image enables it; a file that does not set it is a warning."""
    config = write(tmp_path, text, 5000)
    assert load(config, environ).settings.storage.delete.enabled is (enabled and not warned)
    monkeypatch.setattr(sys.modules[load.__module__], "REGISTRY_3", tmp_path)
    loaded = load(config, environ)
    assert loaded.settings.storage.delete.enabled is enabled
    key = "storage.delete.enabled is not set and counts as true"
    assert any(f"{config}: {key}" in line for line in loaded.warnings) is warned
