"""The example and the manual name all key_tree, and no unknown ones."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from registry_server.config import Settings, document_shape, key_tree, support
from registry_server.config.load import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yaml"
MANUAL = ROOT / "docs" / "configuration.md"

# "#" directly before a key, or before several spaces, comments out a line; "# " is an explanation.
_SWITCHED_OFF = re.compile(r"^( *)#(?=\S|  )", re.MULTILINE)


def _switched_on() -> object:
    text = _SWITCHED_OFF.sub(r"\1", EXAMPLE.read_text())
    return yaml.load(text, Loader=yaml.BaseLoader)


def _holds(value: object, key: tuple[str, ...]) -> bool:
    if not key:
        return True
    if key[0] == key_tree.ITEM:
        return isinstance(value, list) and any(_holds(item, key[1:]) for item in value)
    return isinstance(value, dict) and key[0] in value and _holds(value[key[0]], key[1:])


def _paths(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(key_tree.at(path), document_shape.Leaf):
        return
    if isinstance(value, dict):
        for name, child in value.items():
            yield from _paths(child, (*path, name))
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from _paths(child, (*path, index))


def _written(key: tuple[str, ...]) -> str:
    return ".".join(key).replace(f".{key_tree.ITEM}", key_tree.ITEM)


def test_the_example_has_the_defaults() -> None:
    """The example loads without warnings and has the default settings."""
    loaded = load(EXAMPLE, {})
    assert loaded.settings == Settings()
    assert loaded.warnings == ()


@pytest.mark.parametrize("key", list(key_tree.leaves()), ids=_written)
def test_the_example_has_every_key(key: tuple[str, ...]) -> None:
    """Each known key is in the example, as a line or in a comment."""
    assert _holds(_switched_on(), key)


def test_the_example_enables_only_implemented_keys() -> None:
    """Keys that are not implemented are comments in the example."""
    live = yaml.load(EXAMPLE.read_text(), Loader=yaml.BaseLoader)
    switched_on = {
        key for key in map(_written, key_tree.leaves()) if _holds(live, tuple(key.split(".")))
    }
    tables = (*support.REFUSED, *support.WARNED)
    refused = {key for key in switched_on if key.startswith(tables)}
    assert refused == set()
    assert {"http.tls.certificate", "storage.filesystem.fsync", "http.workers"} <= switched_on


def test_the_example_has_no_unknown_key() -> None:
    """Each commented line of the example is a known key."""
    unknown = [path for path in _paths(_switched_on()) if key_tree.at(path) is None]
    assert unknown == []


@pytest.mark.parametrize("key", list(key_tree.leaves()), ids=_written)
def test_the_manual_names_every_key(key: tuple[str, ...]) -> None:
    """Each known key is in the manual with its full path."""
    assert f"`{_written(key)}`" in MANUAL.read_text()


def test_the_manual_names_no_unknown_key() -> None:
    """Each path in the manual that looks like a key is one."""
    tops = "|".join(Settings.field_names())
    named = set(re.findall(rf"`((?:{tops})(?:\.[a-z0-9]+(?:\[\])?)+)`", MANUAL.read_text()))
    unknown = [
        key for key in named if key_tree.at(tuple(key.replace("[]", ".0").split("."))) is None
    ]
    assert unknown == ["config.yml"] or unknown == []
    assert len(named) > 100


def test_the_manuals_tables_agree_with_the_errors_and_warnings() -> None:
    """Each section that is refused or has no effect is under that heading."""
    manual = MANUAL.read_text()
    refused = manual.split("## Keys that stop the registry")[1].split("\n## ")[0]
    warned = manual.split("## Keys that have no effect")[1].split("\n## ")[0]
    for key in support.REFUSED:
        assert f"`{key}" in refused, key
    for key in support.WARNED:
        assert f"| `{key}` |" in warned, key


def test_the_variables_in_the_manual_are_valid() -> None:
    """The manual's examples of variables set the keys that it says."""
    rows = re.findall(r"^\| `(REGISTRY_[A-Z0-9_]+)=(\S+)` \|", MANUAL.read_text(), re.MULTILINE)
    environ = dict(rows) | {"REGISTRY_HTTP_TLS_CERTIFICATE": "/c", "REGISTRY_HTTP_TLS_KEY": "/k"}
    loaded = load(None, environ)
    assert len(rows) == 6
    assert loaded.warnings == ()
    assert loaded.settings.storage.filesystem.rootdirectory == Path("/srv/registry")
    assert loaded.settings.http.headers == {"x-frame-options": ("DENY",)}
    assert loaded.settings.http.tls.clientcas == (Path("/etc/ca.pem"),)
    assert loaded.settings.log.fields == {"service": "registry"}
