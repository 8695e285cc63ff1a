"""No secret is ever shown in an error, a warning or a repr."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_server.config import ConfigError, Settings
from registry_server.config.load import load
from registry_server.config.validation import Invalid, validated

SECRET = "correct-horse-battery"

PLACES = [
    "http: {secret: %s}",
    "proxy: {username: u, password: %s}",
    "redis: {addr: a, password: %s, sentinelpassword: %s}",
    "notifications: {endpoints: [{name: n, headers: {Authorization: [Bearer %s]}}]}",
    "health: {http: [{uri: u, headers: {Authorization: [%s]}}]}",
    "log: {hooks: [{type: mail, options: {smtp: {password: %s}}}]}",
    "reporting: {bugsnag: {apikey: %s}, newrelic: {licensekey: %s}}",
    "middleware: {storage: [{name: n, options: {privatekey: %s}}]}",
]
MISTAKES = [
    "storage: {s3: {secretkey: %s}}",
    "storage: {azure: {accountkey: %s}}",
    "storage: {s3: %s}",
    "storage: {s3: {secretkey: %s}, filesystem: {}}",
    "http: {secret: {value: %s}}",
    "http: {secret: [%s]}",
    "http: {secret: %s, workers: %s}",
    "http: %s",
    "http: {secret: *%s}",
    "http: {secret: !%s!x y}",
    "http: {secret: %s",
    "http: {secret: '%s}",
    "redis: {password: {%s: x}}",
    "redis: {db: %s}",
    "notifications: {endpoints: [{headers: {Authorization: Bearer %s}}]}",
    "log: {level: %s}",
    "log: {fields: %s}",
    "http: {host: 'https://user:%s@/'}",
    "http: {addr: 'user:%s@host'}",
    "http: {draintimeout: %s}",
    'http: {headers: {X-A: ["%s\\0"]}}',
    "proxy: {remoteurl: 'https://user:%s@upstream.example.com'}",
    "validation: {manifests: {urls: {allow: ['(%s']}}}",
]


@pytest.mark.parametrize("place", PLACES)
def test_a_valid_secret_is_not_shown(tmp_path: Path, place: str) -> None:
    """Neither the settings nor the warnings contain it."""
    path = tmp_path / "config.yml"
    path.write_text(f"version: 0.1\n{place.replace('%s', SECRET)}\n")
    loaded = load(path, {})
    assert SECRET not in repr(loaded) + str(loaded) + str(loaded.settings)
    assert SECRET in path.read_text()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_secret_near_a_mistake_is_not_shown(tmp_path: Path, mistake: str) -> None:
    """An error or a warning has the place of an invalid value, and never the value."""
    path = tmp_path / "config.yml"
    path.write_text(f"version: 0.1\n{mistake.replace('%s', SECRET)}\n")
    try:
        message = repr(load(path, {}))
    except ConfigError as error:
        message = str(error) + repr(error) + repr(error.__cause__)
    assert SECRET not in message


def test_the_text_of_a_secret_is_available(tmp_path: Path) -> None:
    """The attribute has it."""
    settings = load(None, {"REGISTRY_HTTP_SECRET": SECRET}).settings
    assert settings.http.secret.text == SECRET
    assert SECRET not in repr(settings)


def test_the_error_of_a_section_does_not_show_it_either() -> None:
    """A section that is validated without `load` does not show it either."""
    with pytest.raises(Invalid, match=r"^http\.secret must be text$") as caught:
        validated(Settings, {"http": {"secret": [SECRET]}})
    assert SECRET not in str(caught.value)


@given(
    st.sampled_from(["HTTP_SECRET", "REDIS_PASSWORD", "REDIS_DB", "PROXY", "STORAGE_S3", "AUTH_X"]),
    st.sampled_from(
        ["%s", "*%s", "&%s", "!%s", "{%s", "[%s]", '"%s', "'%s'", "- %s", "%%%s", "@%s"]
    ),
)
def test_no_variable_shows_its_value(name: str, around: str) -> None:
    """A message about an invalid variable does not contain its value."""
    try:
        said = repr(load(None, {f"REGISTRY_{name}": around.replace("%s", SECRET)}))
    except ConfigError as error:
        said = str(error)
    assert SECRET not in said
