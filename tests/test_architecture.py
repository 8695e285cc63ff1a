"""Imports go down only: the floors of docs/design.md, read from the syntax trees.

Each rule is also tested against made-up sources that break it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("storage", "registry_server")

# Lowest first. A module belongs to the line of the longest prefix of its name. Packages in one
# line may import each other.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("storage.concurrency", "storage.errors", "storage.values"),
    ("storage.drivers",),
    ("storage.drivers.filesystem",),
    ("storage.content",),
    ("storage.interfaces",),
    ("storage.repository",),
    ("storage.maintenance",),
    ("registry_server.config", "registry_server.logs"),
    ("registry_server.files",),
    ("registry_server.http",),
    ("registry_server.access",),
    ("registry_server.audit", "registry_server.limits"),
    ("registry_server.v2",),
    ("registry_server.api",),
    ("registry_server.jobs",),
    ("registry_server.serving",),
    ("registry_server.wiring",),
    ("registry_server.commands",),
    ("registry_server.cli", "registry_server.__main__"),
)

HTTP = ("aiohttp", "fastapi", "h11", "http", "httptools", "httpx", "starlette", "uvicorn")

_STORED = ("storage.content", "storage.drivers", "storage.maintenance", "storage.repository")

# A module whose name begins with the first must not import one that begins with any of the second.
FORBIDDEN: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("storage", ("registry_server", *HTTP), "storage knows nothing of HTTP"),
    ("registry_server.config", ("storage", *HTTP), "a configuration is a value"),
    ("registry_server.http", _STORED, "HTTP knows values and errors of the storage, nothing else"),
    ("registry_server.v2", (*_STORED, "storage.values.paths"), "handlers see `storage.interfaces`"),
    ("registry_server.api", _STORED, "handlers see `storage.interfaces`"),
    ("registry_server.v2", ("registry_server.config",), "handlers are given what they need"),
    (
        "storage.maintenance",
        ("storage.repository.repository",),
        "a repository is opened by a registry",
    ),
)

Sources = Mapping[str, str]


def _begins(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _floor(module: str) -> int | None:
    """Return the number of the floor of a module of ours; None if it is on no floor.

    The two top packages themselves import nothing and are below everything.
    """
    if module in PACKAGES:
        return -1
    best, number = "", None
    for at, prefixes in enumerate(FLOORS):
        for prefix in prefixes:
            if _begins(module, (prefix,)) and len(prefix) > len(best):
                best, number = prefix, at
    return number


@lru_cache(maxsize=1)
def _sources() -> Sources:
    """Map every module of ours to its source."""
    found = {}
    for package in PACKAGES:
        for path in (PROJECT / package).rglob("*.py"):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path.read_text()
    return found


@lru_cache(maxsize=1000)
def _statements(source: str) -> tuple[tuple[str, str], ...]:
    """Return (module, name within it or nothing) for every import, wherever it stands."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import by a relative name"
            assert node.module is not None
            found += ((node.module, alias.name) for alias in node.names)
    return tuple(found)


def _imports(module: str, sources: Sources) -> Iterator[str]:
    """Yield the dotted name of every module that a module imports."""
    for source, name in _statements(sources[module]):
        whole = f"{source}.{name}"
        yield whole if whole in sources else source


def violations(sources: Sources) -> list[str]:
    """Say what breaks the rules."""
    found = []
    for module in sources:
        if _floor(module) is None:
            found.append(f"{module} is on no floor")
            continue
        for imported in _imports(module, sources):
            found += _violation(module, imported)
    return sorted(found)


def _violation(module: str, imported: str) -> Iterator[str]:
    above, below = _floor(module), _floor(imported)
    assert above is not None
    if below is not None and below > above:
        yield f"{module} imports {imported}, which is on floor {below}, above {above}"
    for prefix, targets, reason in FORBIDDEN:
        if _begins(module, (prefix,)) and _begins(imported, targets):
            yield f"{module} imports {imported}: {reason}"


def test_imports_go_down_only() -> None:
    """No module imports one of a floor above, and none has what its place forbids."""
    assert not violations(_sources()), "\n".join(violations(_sources()))


def test_every_module_was_looked_at() -> None:
    """The walk finds the sources, and each floor has modules that exist."""
    sources = _sources()
    assert len(sources) > 40
    missing = [
        prefix
        for prefixes in FLOORS
        for prefix in prefixes
        if not any(_begins(module, (prefix,)) for module in sources)
    ]
    assert missing == []
    imported = {name for module in sources for name in _imports(module, sources)}
    assert {"storage.values.paths", "storage.drivers.base", "starlette.requests"} <= imported


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage.values.digest", "from storage.content.links import Links"),
        ("storage.values.digest", "def late():\n    import storage.content.links"),
        ("storage.values.paths", "from storage.content import tag_store"),
        ("storage.drivers.filesystem.driver", "import storage.content.blob_store"),
        ("storage.content.tag_store", "from storage.repository.repository import Stores"),
        ("storage.content.upload_store", "from storage.interfaces import Upload"),
        ("storage.maintenance.gc", "from storage.repository.repository import Stores"),
        ("storage.repository.registry", "from registry_server.config import Settings"),
        ("storage.repository.registry", "from starlette.requests import Request"),
        ("storage.repository.registry", "if TYPE_CHECKING:\n    import httpx"),
        ("storage.values.manifests", "import fastapi, json"),
        ("storage.content.blob_store", "from http.client import HTTPConnection"),
        ("registry_server.v2.blobs", "from storage.values import paths"),
        ("registry_server.v2.blobs", "from storage.drivers.base import CHUNK"),
        ("registry_server.v2.blobs", "from storage.repository.repository import StoredRepository"),
        ("registry_server.v2.blobs", "import registry_server.wiring.app"),
        ("registry_server.v2.blobs", "from registry_server.config.schema import Settings"),
        ("registry_server.v2.gate", "from registry_server import cli"),
        ("registry_server.jobs.purging", "from registry_server.wiring.server import serve"),
        ("storage.brand_new", ""),
    ],
)
def test_a_violation_is_noticed(module: str, source: str) -> None:
    """A source that breaks a rule is reported, and by its own name."""
    found = violations({**_sources(), module: source})
    assert any(line.startswith(module) for line in found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "storage.content.upload_store",
            "from storage import paths\nfrom storage.values.digest import Digest",
        ),
        (
            "storage.repository.registry",
            "import json\nfrom storage.repository.repository import Stores",
        ),
        ("registry_server.v2.blobs", "from storage.interfaces import Blob\nimport starlette"),
        (
            "registry_server.wiring.app",
            "import uvicorn\nfrom storage.drivers.filesystem.driver import TRASH",
        ),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    """The rules forbid nothing that the floors allow."""
    assert [line for line in violations({module: source}) if line.startswith(module)] == []
