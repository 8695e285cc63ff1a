"""The one reader of the environment: `REGISTRY_HTTP_ADDR` sets `http.addr`, and so on.

As in distribution, a value is YAML, an index names an item of a list, and variables apply in the
order of their names: `REGISTRY_STORAGE` before `REGISTRY_STORAGE_DELETE_ENABLED`. A variable that
matches no key is a warning: Kubernetes and Docker set such variables for every service with the
name "registry" (`REGISTRY_PORT`, `REGISTRY_SERVICE_HOST`).

`REGISTRY_CONFIGURATION_PATH` is not a key: it is the path of the file, for every command that is
run without one.
"""

import difflib
import pathlib as files
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from registry_server.config import CONFIGURATION_PATH, key_tree
from registry_server.config.document import Document, parse
from registry_server.config.document_shape import Keys, ListOf, MapOf
from registry_server.config.problems import ConfigError, Path, Place, Problem, dotted, shown
from registry_server.config.shorthand import expand
from registry_server.config.strict_sections import guarded_section, has_section

PREFIX = "REGISTRY_"
_LONGEST = 100
_LIKENESS = 0.85
# Guarded sections that a variable can set to empty without any other check reporting it.
_SILENTLY_EMPTIED: tuple[Path, ...] = (("limits",), ("http", "tls"))
# Variables of other programs that look like keys of guarded sections.
_HINTS = {
    "REGISTRY_AUTH_FILE": ": it is a variable of podman and skopeo; unset it for the registry",
}
_INDEX = re.compile(r"[0-9]{1,4}", re.ASCII)
_INJECTED = re.compile(
    r"REGISTRY_(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP).*)?)"
)


def file(environ: Mapping[str, str]) -> files.Path | None:
    """Return the path of the configuration file from the environment, or None."""
    named = environ.get(CONFIGURATION_PATH, "")
    return files.Path(named) if named else None


def apply(document: Document, environ: Mapping[str, str]) -> None:
    """Apply the variables to the document, and add warnings about those that are ignored.

    Raises ConfigError if a value cannot be parsed, or if a variable for a guarded section matches
    no key: ignoring it could open the registry.
    """
    problems: list[Problem] = []
    names = sorted(
        name for name in environ if name.startswith(PREFIX) and name != CONFIGURATION_PATH
    )
    for name in names:
        try:
            _apply(document, name, environ[name])
        except ConfigError as error:
            problems.extend(error.details)
    problems.extend(_misspelt(document, names))
    if problems:
        raise ConfigError(problems)


def _apply(document: Document, name: str, payload: str) -> None:
    path = resolve(name)
    if path is None:
        _unknown(document, name)
        return
    if path == ("version",):
        message = "is ignored: the version can only be set in the file"
        document.warnings.append(Problem(Place(), name, message))
        return
    value = parse(payload, lambda line: Place(name))
    value.origins[()] = Place(name)
    if value.warnings and guarded_section(path) is not None:
        raise ConfigError(value.warnings)
    expand(document)
    filled = [section for section in _SILENTLY_EMPTIED if document.value(section) is not None]
    _put(document, name, path, value)
    expand(document)
    for section in filled:
        if document.value(section) is None:
            message = "is emptied by this variable, so what the file sets there has no effect"
            document.warnings.append(Problem(Place(name), dotted(section), message))


def _put(document: Document, name: str, path: Path, value: Document) -> None:
    spelled = _as_spelled(document, path)
    if not document.put(spelled, value):
        message = "cannot be set: in the file its parent is not a mapping, or its list is too short"
        raise ConfigError([Problem(Place(name), dotted(spelled), message)])
    document.warnings.extend(value.warnings)


def _unknown(document: Document, name: str) -> None:
    path = tuple(part.lower() for part in name.removeprefix(PREFIX).split("_"))
    section = guarded_section(path)
    if section is not None and not _INJECTED.fullmatch(name):
        message = f"names no known key of {section}{_HINTS.get(name, '')}"
        raise ConfigError([Problem(Place(), shown(name), message)])
    near = None if _INJECTED.fullmatch(name) else _nearest(name)
    hint = f": did you mean {near}?" if near else ""
    message = f"is ignored: it names no known key{hint}"
    document.warnings.append(Problem(Place(), shown(name), message))


def _misspelt(document: Document, names: Iterable[str]) -> Iterator[Problem]:
    """Yield variables that were probably meant for a guarded section that is not set."""
    for name in names:
        near = None if resolve(name) or _INJECTED.fullmatch(name) else _nearest(name)
        path = resolve(near) if near else None
        section = guarded_section(path) if path else None
        if near and section and not has_section(document, section):
            message = f"names no known key: did you mean {near}?"
            yield Problem(Place(), shown(name), message)


def _nearest(name: str) -> str | None:
    """Return the known variable that `name` is probably a misspelling of, or None."""
    rest = name.removeprefix(PREFIX).upper()[:_LONGEST]
    near = difflib.get_close_matches(rest, _names(), n=1, cutoff=_LIKENESS)
    return PREFIX + near[0] if near else None


@cache
def _names() -> tuple[str, ...]:
    return tuple(
        "_".join("0" if part == key_tree.ITEM else part for part in key).upper()
        for key in key_tree.leaves()
    )


def resolve(name: str) -> Path | None:
    """Return the path of the key that a variable sets, or None if it matches no key."""
    remaining = name.removeprefix(PREFIX).split("_")
    path: list[str | int] = []
    while remaining:
        shape = key_tree.at(tuple(path))
        if isinstance(shape, MapOf):
            return _in_map(path, shape, remaining)
        part = remaining.pop(0)
        any_case = path[:1] in (["auth"], ["storage"])  # as in distribution
        if isinstance(shape, Keys) and _key(part, any_case=any_case) in shape.children:
            path.append(part.lower())
        elif isinstance(shape, ListOf) and _INDEX.fullmatch(part):
            path.append(int(part))
        else:
            return None
    return tuple(path)


def _key(part: str, *, any_case: bool) -> str:
    """Return the key for a part of a variable's name; "" if it must be in capitals and is not."""
    return part.lower() if any_case or part == part.upper() else ""


def _in_map(path: list[str | int], shape: MapOf, remaining: list[str]) -> Path | None:
    """Return the path of a key whose name the operator chooses: the rest of the variable's name.

    For a mapping of lists, a final number is an index. Its keys are header names: shells allow no
    hyphens in variables, so each underscore becomes a hyphen.
    """
    index: list[str | int] = []
    lists = isinstance(shape.item, ListOf)
    if lists and len(remaining) > 1 and _INDEX.fullmatch(remaining[-1]):
        index = [int(remaining.pop())]
    key = ("-" if lists else "_").join(remaining).lower()
    return (*path, key, *index) if key else None


def _as_spelled(document: Document, path: Path) -> Path:
    """Return the same path in the letter case that the document uses."""
    spelled: list[str | int] = []
    value = document.data
    for part in path:
        key = part
        if isinstance(value, dict):
            key = next((name for name in value if name.lower() == part), part)
            value = value.get(str(key))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        spelled.append(key)
    return tuple(spelled)
