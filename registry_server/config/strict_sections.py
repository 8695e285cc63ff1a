"""Guarded sections, in which an unknown key is an error: ignoring it could open the registry.

A key outside of them that was probably meant for one is an error, too: `auht`, a `tls` with lost
indentation, an `auth` in `http`. Distribution ignores such keys and serves unprotected. If the
document also has the section itself, such a key is only a warning: it may be a template for it.
"""

import difflib

from registry_server.config import key_tree
from registry_server.config.auth import Auth
from registry_server.config.document import Document, Value
from registry_server.config.problems import Path
from registry_server.config.schema import Tls

SECTIONS: tuple[tuple[str, ...], ...] = (("auth",), ("access",), ("limits",), ("http", "tls"))

# Keys that only guarded sections have. At the top level or in `http` their indentation was lost.
_MISPLACED = {
    **{name: f"auth.{name}" for name in Auth.field_names() if name != "none"},
    **{name: f"http.tls.{name}" for name in Tls.field_names() if name != "key"},
    "letsencrypt": "http.tls.letsencrypt",
    "tls": "http.tls",
    "rules": "access.rules",
    "administrators": "access.administrators",
}
_LIKENESS = 0.65

# Keys that identify a section under any name, at any level.
_ISSUED = frozenset({"realm", "service", "issuer", "rootcertbundle", "jwks"})
_RULES = frozenset({"rules", "file", "groups"})
_PAIR = frozenset({"certificate", "key"})
# In these sections a certificate is the server's. The debug listener has its own.
_SERVING = ("http", "storage", "log", "https", "ssl")
_DEBUG = ("http", "debug")


def has_section(document: Document, name: str) -> bool:
    """Return whether the document sets the guarded section that contains the key `name`."""
    path = tuple(name.split("."))
    section = next(section for section in SECTIONS if path[: len(section)] == section)
    return document.value(section) is not None


def guarded_section(path: Path) -> str | None:
    """Return the name of the guarded section that contains `path`, or None."""
    for section in SECTIONS:
        if path[: len(section)] == section:
            return ".".join(section)
    return None


def intended_key(path: Path, value: Value, known: frozenset[str]) -> str | None:
    """Return the guarded key that the unknown key at `path` was probably meant to be, or None.

    `known` has the names of all keys: a name that exists elsewhere is not a misspelling.
    """
    parent, name = path[:-1], str(path[-1]).lower()
    if parent in ((), ("http",)) and name in _MISPLACED:
        return _MISPLACED[name]
    section = _section_by_content(path, value)
    if section is not None:
        return section
    if name in known and name not in _siblings(parent):
        return None
    near = difflib.get_close_matches(name, _siblings(parent), n=1, cutoff=_LIKENESS)
    return _guarded_at((*parent, *near), value) if near else None


def _section_by_content(path: Path, value: Value) -> str | None:
    """Return the guarded section that the keys below an unknown key belong to, or None."""
    inside = value if isinstance(value, dict) else {}
    children = {key.lower(): child for key, child in inside.items()}
    name = str(path[-1]).lower()
    issued = children if name == "token" else children.get("token")
    if name == "htpasswd" or "htpasswd" in children:
        return "auth"
    if isinstance(issued, dict) and len(_ISSUED.intersection(issued)) > 1:
        return "auth"
    if name == "access" and not _RULES.isdisjoint(children):
        return "access"
    serving = str(path[0]).lower() in _SERVING and path[:2] != _DEBUG
    return "http.tls" if serving and children.keys() >= _PAIR else None


def _siblings(parent: Path) -> list[str]:
    """Return the known keys in `parent` that a misspelled guarded section may be compared with."""
    if parent == ():
        return list(key_tree.root().children)
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
