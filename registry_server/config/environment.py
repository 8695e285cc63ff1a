"""The one reader of the environment: `REGISTRY_HTTP_ADDR` sets `http.addr`, and so on.

As in distribution a value is YAML, an index names an item of a list, and variables apply in the
order of their names, so that `REGISTRY_STORAGE` comes before `REGISTRY_STORAGE_DELETE_ENABLED`.
A name that fits no key is a warning: Kubernetes and Docker invent such names for every service
that is called "registry" (`REGISTRY_PORT`, `REGISTRY_SERVICE_HOST`).

`REGISTRY_CONFIGURATION_PATH` is no key: it names the file, for every command that is given none.
"""

import difflib
import pathlib as files
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from registry_server.config import CONFIGURATION_PATH, keys
from registry_server.config.document import Document, parse
from registry_server.config.problems import ConfigError, Path, Place, Problem, dotted, shown
from registry_server.config.shorthand import expand
from registry_server.config.strict_sections import guarded_section, is_given

PREFIX = "REGISTRY_"
_LONGEST = 100
_LIKENESS = 0.85
# The guarded sections for which no other check reports that a variable emptied them.
_SILENTLY_EMPTIED: tuple[Path, ...] = (("limits",), ("http", "tls"))
# Variables of other programs, which look like keys of guarded sections.
_HINTS = {
    "REGISTRY_AUTH_FILE": ": it is a variable of podman and skopeo; unset it for the registry",
}
_INDEX = re.compile(r"[0-9]{1,4}", re.ASCII)
_INJECTED = re.compile(
    r"REGISTRY_(?:.*_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP).*)?)"
)


def file(environ: Mapping[str, str]) -> files.Path | None:
    """Return the path of the configuration that the environment names, or None."""
    named = environ.get(CONFIGURATION_PATH, "")
    return files.Path(named) if named else None


def apply(document: Document, environ: Mapping[str, str]) -> None:
    """Put what the environment sets into the document, and its oddities into the warnings.

    Raises ConfigError when a value cannot be read, or when a variable meant for a guarded section
    names no known key: ignoring it could open the registry.
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
        message = "is ignored: only the file says which version it is"
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
            message = "is emptied by this variable: what the file sets there has no effect"
            document.warnings.append(Problem(Place(name), dotted(section), message))


def _put(document: Document, name: str, path: Path, value: Document) -> None:
    spelled = _as_spelled(document, path)
    if not document.put(spelled, value):
        message = "does not fit what the file has there"
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
    """Yield variables that were probably meant for a guarded section which the document lacks."""
    for name in names:
        near = None if resolve(name) or _INJECTED.fullmatch(name) else _nearest(name)
        path = resolve(near) if near else None
        section = guarded_section(path) if path else None
        if near and section and not is_given(document, section):
            message = f"names no known key: did you mean {near}?"
            yield Problem(Place(), shown(name), message)


def _nearest(name: str) -> str | None:
    """Return the variable that a name is a misspelling of, if it is close to one."""
    rest = name.removeprefix(PREFIX).upper()[:_LONGEST]
    near = difflib.get_close_matches(rest, _names(), n=1, cutoff=_LIKENESS)
    return PREFIX + near[0] if near else None


@cache
def _names() -> tuple[str, ...]:
    return tuple(
        "_".join("0" if part == keys.ITEM else part for part in key).upper()
        for key in keys.leaves()
    )


def resolve(name: str) -> Path | None:
    """The path of the key a variable names, or None when it names none."""
    remaining = name.removeprefix(PREFIX).split("_")
    path: list[str | int] = []
    while remaining:
        shape = keys.at(tuple(path))
        if isinstance(shape, keys.MapOf):
            return _in_map(path, shape, remaining)
        part = remaining.pop(0)
        any_case = path[:1] in (["auth"], ["storage"])  # as in distribution
        if isinstance(shape, keys.Keys) and _key(part, any_case=any_case) in shape.children:
            path.append(part.lower())
        elif isinstance(shape, keys.ListOf) and _INDEX.fullmatch(part):
            path.append(int(part))
        else:
            return None
    return tuple(path)


def _key(part: str, *, any_case: bool) -> str:
    """Return the key that a part of a variable's name stands for; "" if it must be in capitals."""
    return part.lower() if any_case or part == part.upper() else ""


def _in_map(path: list[str | int], shape: keys.MapOf, remaining: list[str]) -> Path | None:
    """A key the operator chose: the rest of the name, but for an index into its list.

    Shells allow no hyphen in a name, so a header's are written as underscores.
    """
    index: list[str | int] = []
    lists = isinstance(shape.item, keys.ListOf)
    if lists and len(remaining) > 1 and _INDEX.fullmatch(remaining[-1]):
        index = [int(remaining.pop())]
    key = ("-" if lists else "_").join(remaining).lower()
    return (*path, key, *index) if key else None


def _as_spelled(document: Document, path: Path) -> Path:
    """The same path in the letter case that the document already uses."""
    spelled: list[str | int] = []
    value = document.data
    for part in path:
        found = part
        if isinstance(value, dict):
            found = next((known for known in value if known.lower() == part), part)
            value = value.get(str(found))
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part] if part < len(value) else None
        spelled.append(found)
    return tuple(spelled)
