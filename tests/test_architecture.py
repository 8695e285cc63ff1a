"""Imports go down only: the floors of docs/design.md, read from the syntax trees.

A rule that a violation would not break is no rule: each is also held against made-up sources.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("storage", "registry_server")

# Lowest first. A module belongs to the floor of the longest prefix of its name.
FLOORS: Mapping[str, tuple[str, ...]] = {
    "values": (
        "storage",
        "storage.boot",
        "storage.buffers",
        "storage.cache",
        "storage.concurrency",
        "storage.digest",
        "storage.errors",
        "storage.exhaustion",
        "storage.fairness",
        "storage.hashing",
        "storage.json_text",
        "storage.large_documents",
        "storage.listing",
        "storage.manifest_fields",
        "storage.manifests",
        "storage.names",
        "storage.referrer_entries",
        "storage.rules",
        "storage.sharing",
        "storage.sizes",
        "storage.stored_manifests",
        "storage.url_rules",
    ),
    "drivers": ("storage.paths", "storage.drivers"),
    "content": (
        "storage.blobs",
        "storage.deletions",
        "storage.hash_states",
        "storage.heeding",
        "storage.links",
        "storage.long_reads",
        "storage.manifest_store",
        "storage.pipeline",
        "storage.referrer_index",
        "storage.referrer_scan",
        "storage.referrers",
        "storage.tags",
        "storage.uploads",
    ),
    "repository": (
        "storage.interfaces",
        "storage.maintenance",
        "storage.modes",
        "storage.quotas",
        "storage.registry",
        "storage.repository",
        "storage.wrapped",
    ),
    "wire": ("registry_server",),
    "wiring": (
        "registry_server.__main__",
        "registry_server.app",
        "registry_server.assembly",
        "registry_server.cli",
        "registry_server.commands",
        "registry_server.guard",
        "registry_server.guarded",
        "registry_server.listening",
        "registry_server.rehearsal",
        "registry_server.server",
        "registry_server.startup",
    ),
}

HTTP = ("aiohttp", "fastapi", "h11", "http", "httptools", "httpx", "starlette", "uvicorn")

# Who imports a name that begins so must not import a name that begins so, and why.
FORBIDDEN = (
    ("storage", ("registry_server", *HTTP), "storage knows nothing of HTTP"),
    ("registry_server.v2", ("storage.paths", "storage.drivers"), "the wire asks for a repository"),
    (
        "registry_server.v2",
        ("storage.registry", "storage.repository", "storage.uploads", "storage.blobs"),
        "a handler never asks which repository it holds",
    ),
    ("registry_server.v2", ("registry_server.config",), "handlers are given what they need"),
    ("registry_server.config", ("storage", *HTTP), "a configuration is a value"),
    ("storage.maintenance", ("storage.repository",), "a repository is opened by a registry"),
)

Sources = Mapping[str, str]


def _begins(name: str, prefixes: Iterable[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _floor(module: str) -> int | None:
    """Return the number of the floor a module of ours is on; None for anyone else's."""
    best, number = "", None
    for at, prefixes in enumerate(FLOORS.values()):
        for prefix in prefixes:
            # The package itself is listed for its __init__, not for what may be added below it.
            matches = module == prefix if prefix == "storage" else _begins(module, (prefix,))
            if matches and len(prefix) > len(best):
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
        names = list(FLOORS)
        yield f"{module} ({names[above]}) imports {imported} ({names[below]})"
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
        for prefixes in FLOORS.values()
        for prefix in prefixes
        if not any(_begins(module, (prefix,)) for module in sources)
    ]
    assert missing == []
    imported = {name for module in sources for name in _imports(module, sources)}
    assert {"storage.paths", "storage.drivers.base", "starlette.requests"} <= imported


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("storage.digest", "from storage.links import Links"),
        ("storage.digest", "def late():\n    import storage.paths"),
        ("storage.paths", "from storage import tags"),
        ("storage.drivers.filesystem", "import storage.blobs"),
        ("storage.tags", "from storage.repository import Stores"),
        ("storage.uploads", "from storage.interfaces import Upload"),
        ("storage.maintenance.gc", "from storage.repository import Stores"),
        ("storage.registry", "from registry_server.config import Settings"),
        ("storage.registry", "from starlette.requests import Request"),
        ("storage.registry", "if TYPE_CHECKING:\n    import httpx"),
        ("storage.manifests", "import fastapi, json"),
        ("storage.blobs", "from http.client import HTTPConnection"),
        ("registry_server.v2.blobs", "from storage import paths"),
        ("registry_server.v2.blobs", "from storage.drivers.base import CHUNK"),
        ("registry_server.v2.blobs", "from storage.repository import StoredRepository"),
        ("registry_server.v2.blobs", "import registry_server.app"),
        ("registry_server.v2.blobs", "from registry_server.config.schema import Settings"),
        ("registry_server.gate", "from registry_server import cli"),
        ("registry_server.upkeep.purging", "from registry_server.server import serve"),
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
        ("storage.uploads", "from storage import paths\nfrom storage.digest import Digest"),
        ("storage.registry", "import json\nfrom storage.repository import Stores"),
        ("registry_server.v2.blobs", "from storage.interfaces import Blob\nimport starlette"),
        ("registry_server.app", "import uvicorn\nfrom storage.drivers.filesystem import TRASH"),
    ],
)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    """The rules forbid nothing that the floors allow."""
    assert [line for line in violations({module: source}) if line.startswith(module)] == []
