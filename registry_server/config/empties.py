"""Places of a file that are left empty where an empty place must not mean the default.

Elsewhere an empty place is the same as none. In `access` it may be a list whose last entry was
commented out: an empty list of rules would open the registry, and an empty list of globs would
widen its rule to every repository.
"""

from collections.abc import Iterator

from registry_server.config.document import Document, Value
from registry_server.config.problems import Path, Problem

ACCESS = "access"
# A group without members is what it looks like.
_HARMLESS = ((ACCESS, "tokens"), (ACCESS, "groups"))
_PROBLEM = "is empty: leave it out, or say what is meant, such as []"


def problems(document: Document, top: Path = ()) -> Iterator[Problem]:
    """Yield each empty place that decides about access, in the file or the environment.

    All of the document is about access if `top` is `access`.
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
