"""Sections in which an unknown key is an error: overlooking it could open the registry.

So is a key outside of them that was probably meant to be inside: `auht`, a `tls` whose indentation
was lost. Distribution ignores such keys and serves without what they ask for.
"""

import difflib

from registry_server.config.auth import Auth
from registry_server.config.document import Value
from registry_server.config.problems import Path
from registry_server.config.schema import Settings, Tls

SECTIONS: tuple[tuple[str, ...], ...] = (("auth",), ("access",), ("limits",), ("http", "tls"))

# Keys of guarded sections that mean little elsewhere: one of them at the top, or in `http`, has
# lost its indentation.
_TELLING = {
    **{name: f"auth.{name}" for name in Auth.model_fields if name != "none"},
    **{name: f"http.tls.{name}" for name in Tls.model_fields if name != "key"},
    "tls": "http.tls",
}
_LIKENESS = 0.65


def guarded_section(path: Path) -> str | None:
    """Return the name of the guarded section that `path` lies in, or None."""
    for section in SECTIONS:
        if path[: len(section)] == section:
            return ".".join(section)
    return None


def meant(path: Path, value: Value, known: frozenset[str]) -> str | None:
    """Return the guarded key that an unknown one was probably meant to be, or None.

    `known` are the names of all keys: a name that exists elsewhere is no misspelling.
    """
    parent, name = path[:-1], str(path[-1]).lower()
    if parent in ((), ("http",)) and name in _TELLING:
        return _TELLING[name]
    if name in known and name not in _siblings(parent):
        return None
    near = difflib.get_close_matches(name, _siblings(parent), n=1, cutoff=_LIKENESS)
    return _guarded_at((*parent, *near), value) if near else None


def _siblings(parent: Path) -> list[str]:
    """Return the known keys beside or above guarded sections, below `parent`."""
    if parent == ():
        return list(Settings.model_fields)
    return ["tls"] if parent == ("http",) else []


def _guarded_at(path: Path, value: Value) -> str | None:
    for section in SECTIONS:
        below = section[len(path) :]
        if path == section[: len(path)] and _holds(value, below):
            return ".".join(section)
    return None


def _holds(value: Value, below: tuple[str, ...]) -> bool:
    names = value if isinstance(value, dict) else ()
    return not below or any(name.lower() == below[0] for name in names)
