"""What a reloaded configuration may change, as values."""

from __future__ import annotations

import pytest

from registry_server.config import ConfigError, LoadedSettings, Settings
from registry_server.config.problems import Place, Problem
from registry_server.config.validation import validated
from registry_server.wiring.settings_merge import merge_settings

TLS = {"certificate": "/cert.pem", "key": "/key.pem"}
FIXED = [
    ("http.addr", {"http": {"addr": ":1"}}),
    ("http.net", {"http": {"net": "unix", "addr": "/socket"}}),
    ("http.workers", {"http": {"workers": 7}}),
    ("http.tls.key", {"http": {"tls": TLS}}),
    ("storage.filesystem.rootdirectory", {"storage": {"filesystem": {"rootdirectory": "/other"}}}),
    ("storage.filesystem.maxthreads", {"storage": {"filesystem": {"maxthreads": 77}}}),
    ("storage.inmemory", {"storage": {"inmemory": {}}}),
    ("storage.filesystem.fsync", {"storage": {"filesystem": {"fsync": False}}}),
]
READ_ONLY = {"storage": {"maintenance": {"readonly": {"enabled": True}}}}
FREE = [
    ("storage.maintenance.readonly.enabled", READ_ONLY),
    ("storage.delete.enabled", {"storage": {"delete": {"enabled": True}}}),
    ("http.headers", {"http": {"headers": {"X-A": ["b"]}}}),
    ("http.draintimeout", {"http": {"draintimeout": "1m"}}),
    ("log.level", {"log": {"level": "debug"}}),
    ("catalog.maxentries", {"catalog": {"maxentries": 3}}),
    ("validation.manifests.urls.allow", {"validation": {"manifests": {"urls": {"allow": ["^a"]}}}}),
]


def settings(changes: dict[str, object] | None = None) -> Settings:
    """Return settings with two workers, whatever the machine has."""
    http = {"workers": 2}
    given = dict(changes or {})
    given["http"] = {**http, **given.get("http", {})}  # type: ignore[dict-item]
    return validated(Settings, given)


@pytest.mark.parametrize(("key", "changes"), FIXED)
def test_what_needs_a_restart_keeps_its_value(key: str, changes: dict[str, object]) -> None:
    """It is named in a warning, is not said to have changed, and nothing else is lost."""
    read = LoadedSettings(settings({**changes, "log": {"level": "warn"}}), ("a warning",))
    merged = merge_settings(settings(), read)
    assert merged.settings == settings({"log": {"level": "warn"}})
    assert merged.changed == ("log.level",)
    first, *fixed = merged.warnings
    assert first == "a warning"
    assert any(line.startswith(f"{key} ") and "restart" in line for line in fixed)


@pytest.mark.parametrize(("key", "changes"), FREE)
def test_what_can_change_is_taken(key: str, changes: dict[str, object]) -> None:
    """It is named, and there is nothing to warn of; back again is as good."""
    before, wanted = settings(), settings(changes)
    merged = merge_settings(before, LoadedSettings(wanted, ()))
    assert (merged.settings, merged.changed, merged.warnings) == (wanted, (key,), ())
    assert merge_settings(wanted, LoadedSettings(before, ())).changed == (key,)


def test_a_certificate_may_change_where_tls_is_spoken() -> None:
    """Only whether TLS is spoken at all needs a restart."""
    before = settings({"http": {"tls": TLS}})
    wanted = settings({"http": {"tls": {**TLS, "certificate": "/new.pem"}}})
    merged = merge_settings(before, LoadedSettings(wanted, ()))
    assert (merged.settings, merged.changed) == (wanted, ("http.tls.certificate",))
    assert merged.warnings == ()


def test_nothing_new_changes_nothing() -> None:
    """The same file read twice is the same settings, expressions and secrets included."""
    one, other = (
        settings({"http": {"secret": "s"}, "validation": {"manifests": {"urls": {"deny": ["x"]}}}})
        for _ in range(2)
    )
    assert merge_settings(one, LoadedSettings(other, ())).changed == ()


USERS: dict[str, object] = {"auth": {"htpasswd": {"realm": "r", "path": "/users"}}}
RULES: dict[str, object] = {"access": {"rules": []}}


def test_the_address_that_stays_is_warned_about() -> None:
    """Not the one that was read: other machines reach the listener until the restart."""
    before = settings({"http": {"addr": ":5000"}, **USERS})
    read = LoadedSettings(settings({"http": {"addr": "127.0.0.1:5000"}}), ())
    told = merge_settings(before, read).warnings
    assert any("http.addr is not on loopback, and every client may pull" in line for line in told)
    open_at = Problem(Place("c.yml", 1), "http.addr", "is not on loopback")
    beyond = LoadedSettings(settings({"http": {"addr": ":5000"}}), (), exposure=(open_at,))
    (told_of_old,) = merge_settings(read.settings, beyond).warnings
    assert told_of_old.startswith("http.addr was changed")
    without_tls = LoadedSettings(settings({"http": {"addr": ":5000"}, **USERS}), ())
    encrypted = settings({"http": {"addr": ":5000", "tls": TLS}, **USERS})
    assert not any("password" in line for line in merge_settings(encrypted, without_tls).warnings)


def test_rules_do_not_come_to_a_socket_without_a_url_for_tokens() -> None:
    """Although the address that was read would suit them; the registry listens on the socket."""
    before = settings({"http": {"net": "unix", "addr": "/socket"}, **USERS})
    with pytest.raises(ConfigError, match=r"http\.net is unix, and clients would be sent"):
        merge_settings(
            before, LoadedSettings(settings({"http": {"addr": ":5000"}, **USERS, **RULES}), ())
        )
    host = {"addr": ":5000", "host": "https://registry.example.com"}
    merge_settings(before, LoadedSettings(settings({"http": host, **USERS, **RULES}), ()))
