"""`storage.inmemory`: settings, warnings and errors of a registry without a folder."""

from pathlib import Path

import pytest

from registry_server.config import Overrides
from tests.config.conftest import Read, Refuse

LOST = "storage.inmemory keeps images in memory"
FILES = "version: 0.1\nstorage: {filesystem: {rootdirectory: /srv}, delete: {enabled: true}}\n"
RULES = "[{users: [ann], actions: [pull]}]"
TOKEN = "{realm: r, service: s, issuer: i, jwks: /j}"


@pytest.mark.parametrize("storage", ["inmemory", "{inmemory: }", "{inmemory: {}}"])
def test_each_spelling_has_no_root_and_one_worker(read: Read, storage: str) -> None:
    """The default number of workers causes no warning; the only one is about the loss of images."""
    loaded = read(f"version: 0.1\nstorage: {storage}\n")
    assert loaded.settings.storage.root is None
    assert loaded.settings.http.workers == 1
    (warning,) = loaded.warnings
    assert f"config.yml, line 2: {LOST}" in warning


def test_the_parameters_are_ignored(read: Read) -> None:
    """As in distribution, whose driver has none."""
    loaded = read("version: 0.1\nstorage: {inmemory: {rootdirectory: /srv, maxthreads: many}}\n")
    assert loaded.settings.storage.root is None
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize("parameters", ["some", "[a, b]"])
def test_parameters_that_are_no_mapping_are_refused(refuse: Refuse, parameters: str) -> None:
    """Distribution does not start with them either."""
    (problem,) = refuse(f"version: 0.1\nstorage: {{inmemory: {parameters}}}\n")
    assert problem == "config.yml, line 2: storage.inmemory must be a mapping"


def test_a_variable_replaces_the_storage_of_the_file(read: Read) -> None:
    """The whole section is replaced, as in distribution; the warning names the variable."""
    loaded = read(FILES, {"REGISTRY_STORAGE": "inmemory"})
    assert loaded.settings.storage.root is None
    assert not loaded.settings.storage.delete.enabled
    assert loaded.warnings[0].startswith(f"REGISTRY_STORAGE: {LOST}")


@pytest.mark.parametrize(
    ("text", "overrides", "place"),
    [("http: {workers: 3}", None, "config.yml, line 3"), ("", Overrides(workers=3), "--workers")],
)
def test_more_workers_are_a_warning(
    read: Read, text: str, overrides: Overrides | None, place: str
) -> None:
    """It names the key; one worker serves."""
    loaded = read(f"version: 0.1\nstorage: inmemory\n{text}\n", overrides=overrides)
    assert loaded.settings.http.workers == 1
    (warning,) = [line for line in loaded.warnings if "http.workers" in line]
    assert f"{place}: http.workers counts as 1" in warning


def test_an_explicit_single_worker_has_no_warning(read: Read) -> None:
    """The setting is followed."""
    loaded = read("version: 0.1\nstorage: inmemory\nhttp: {workers: 1}\n")
    assert len(loaded.warnings) == 1


def test_collections_are_a_warning(read: Read) -> None:
    """The collector is another process, without access to the images."""
    collects = "maintenance: {garbagecollection: {enabled: true}}"
    loaded = read(f"version: 0.1\nstorage: {{inmemory: {{}}, {collects}}}\n")
    assert "line 2: storage.maintenance.garbagecollection has no effect" in loaded.warnings[1]


@pytest.mark.parametrize(("key", "value"), [("rules", RULES), ("rules", "[]"), ("file", "/rules")])
def test_rules_need_a_folder(refuse: Refuse, key: str, value: str) -> None:
    """Robots and the token key are files. The error has the key and the remedy."""
    (problem,) = refuse(f"version: 0.1\nstorage: inmemory\naccess: {{{key}: {value}}}\n")
    assert problem.startswith(f"config.yml, line 3: access.{key} needs a folder")
    assert "use storage.filesystem" in problem


@pytest.mark.parametrize(
    "text",
    [
        "auth: {htpasswd: {realm: r, path: /users}}",
        f"auth: {{token: {TOKEN}}}",
        f"auth: {{token: {TOKEN}}}\naccess: {{rules: {RULES}}}",
        "limits: {repositories: [{repositories: ['**'], bytes: 1MB}]}",
        "audit: {enabled: true}",
    ],
)
def test_settings_without_a_folder_are_accepted(read: Read, text: str) -> None:
    """The only warning is about the loss of images."""
    assert len(read(f"version: 0.1\nstorage: inmemory\n{text}\n").warnings) == 1


def test_the_option_root_is_refused_with_it(refuse: Refuse) -> None:
    """Either the option or the driver is a mistake."""
    overrides = Overrides(root=Path("/srv"))
    (problem,) = refuse("version: 0.1\nstorage: inmemory\n", overrides=overrides)
    assert problem.startswith("config.yml, line 2: storage.inmemory is set, and --root names")
