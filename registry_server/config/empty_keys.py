"""Refuses keys of `access` without a value.

Elsewhere a key without a value counts as missing. In `access` it may be a list whose entries were
all commented out: missing rules would open the registry, and missing globs would extend their rule
to every repository.
"""

from collections.abc import Iterator

from registry_server.config.document import Document, Value
from registry_server.config.problems import Path, Problem

ACCESS = "access"
# A group without a value has no members, which is what it looks like.
_HARMLESS = ((ACCESS, "tokens"), (ACCESS, "groups"))
_PROBLEM = "is empty: remove the key, or give it a value, such as []"


def problems(document: Document, top: Path = ()) -> Iterator[Problem]:
    """Yield each key without a value that affects access, in the file or the environment.

    With `top` set to `access` the whole document is the content of that section.
    """
    for path in _empty(document.data, ()):
        whole = (*top, *path)
        if path and whole[:1] == (ACCESS,) and whole[:2] not in _HARMLESS:
            yield document.located(path, _PROBLEM)


def _empty(value: Value, path: Path) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from _empty(child, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from _empty(item, (*path, at))
