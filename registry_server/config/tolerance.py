"""Decides which mistakes are warnings: this registry starts with all that registry:2 or 3 do.

A wrong key or value is ignored with a warning if registry:2 or registry:3 ignores it, or if this
registry does not use it. It is an error if ignoring it would open the registry, lose data, or serve
other images than intended.
"""

from collections.abc import Iterable
from functools import cache

from registry_server.config import key_tree, unimplemented
from registry_server.config.document import DRIVERS, STORAGE, Document
from registry_server.config.problems import ConfigError, Path, Problem
from registry_server.config.schema import Settings
from registry_server.config.shorthand import pruned
from registry_server.config.strict_sections import guarded_section, has_section, intended_key
from registry_server.config.validation import Fault, Invalid, shape_faults, validated

# Sections and keys that this registry does not use, so a wrong value has no effect.
_UNREAD = (
    *(key for key in unimplemented.SECTIONS if key not in ("proxy", "http.tls.letsencrypt")),
    "proxy.username",
    "proxy.password",
    "proxy.exec",
    "proxy.ttl",
    "proxy.cachewritetimeout",
    "storage.cache",
    "storage.redirect",
    "storage.tag",
)
# Keys of `storage.filesystem` and of `storage.maintenance`.
_ROOT = "rootdirectory"
_KEPT = ("readonly", "uploadpurging", "garbagecollection")
_PURGING = (STORAGE, "maintenance", "uploadpurging")
# Go does not send a header whose name or value HTTP does not allow.
_HEADER = "http.headers.*"
# Keys whose invalid values registry:2 or registry:3 ignores.
_IGNORED = (
    "http.host",
    "log.reportcaller",
    "tags.maxtags",
    "storage.maintenance.uploadpurging.interval",
    "validation.manifests.indexes",
)


def settings_of(document: Document) -> Settings:
    """Return the settings of a document, from which ignored keys are removed with a warning.

    Raises ConfigError with all errors, in the order of writing.
    """
    while True:
        data = pruned(document.data) or {}
        faults = [
            fault
            for path, value in unimplemented.take_out(data)
            for fault in shape_faults(value, key_tree.at(path), path)
        ]
        try:
            settings = validated(Settings, data)
        except Invalid as error:
            faults.extend(error.faults)
        else:
            if not faults:
                return settings
        _ignore_faults(document, sorted(faults, key=lambda fault: document.rank(fault.path)))


def _ignore_faults(document: Document, faults: Iterable[Fault]) -> None:
    errors, warnings = [], []
    for fault in faults:
        # An unknown key is the last part of the path; only the path of a value may end in a list.
        unknown = fault.is_unknown_key
        path = fault.path if unknown else _key_path(fault.path)
        error = _unknown(document, path) if unknown else _invalid(document, fault)
        if error is not None:
            errors.append(error)
        else:
            message = _ignored(path) if unknown else f"{fault.text}; it is ignored"
            warnings.append((path, message))
    if errors:
        raise ConfigError(errors)
    for path, message in warnings:
        document.warn(path, message)
        document.drop(path)


def _key_path(loc: tuple[str | int, ...]) -> Path:
    """Return the path up to its last key, without indices of lists behind it."""
    path = loc[:-1] if loc and loc[-1] == "[key]" else loc
    while path and isinstance(path[-1], int):
        path = path[:-1]
    return path


def _unknown(document: Document, path: Path) -> Problem | None:
    """Return the error for an unknown key, or None if it is a warning."""
    if guarded_section(path) is not None:
        return document.located(path, f"is not a known key: {key_tree.suggestion(path)}")
    guarded = intended_key(path, document.value(path), _names())
    if guarded is not None and not has_section(document, guarded):
        return document.located(path, f"is not a known key: did you mean {guarded}?")
    lost = _above_its_place(document, path)
    if lost is not None:
        return document.located(path, f"is not a known key: did you mean {lost}?")
    if _names_the_storage(document, path):
        return document.located(path, f"is not a known key: {key_tree.suggestion(path)}")
    return None


def _above_its_place(document: Document, path: Path) -> str | None:
    """Return the full key of one that was written directly in `storage`, or None.

    Distribution takes such a key for a driver and does not start. If it were ignored, another root
    would be served, or a registry that must be read-only would accept pushes.
    """
    for section, names in (("filesystem", (_ROOT,)), ("maintenance", _KEPT)):
        for name in names:
            place = (STORAGE, section, name)
            if path == (STORAGE, name) and document.value(place) is None:
                return ".".join(place)
    return None


def _names_the_storage(document: Document, path: Path) -> bool:
    """Return whether an unknown key may be a misspelled driver or `storage`, and that is not set.

    If it were ignored, the default root would be served instead of the intended images.
    """
    data = document.data if isinstance(document.data, dict) else {}
    storage = data.get(STORAGE)
    if len(path) == 1 and storage is None:
        return "did you mean storage?" in key_tree.suggestion(path)
    known = isinstance(storage, dict) and not DRIVERS.isdisjoint(storage)
    return path[:1] == (STORAGE,) and len(path) == 2 and not known


def _ignored(path: Path) -> str:
    return f"is not a known key and is ignored: {key_tree.suggestion(path)}"


def _invalid(document: Document, fault: Fault) -> Problem | None:
    """Return the error for an invalid value, or None if it is a warning."""
    names = tuple(part for part in fault.path if isinstance(part, str))
    # With access rules clients send their passwords to this host to get tokens.
    if names == ("http", "host") and document.value(("access",)) is not None:
        return document.located(fault.path, fault.text)
    if any(_matches(names, pattern) for pattern in (*_UNREAD, *_IGNORED)):
        return None
    if _matches(names, _HEADER) and not fault.is_not_a_list:
        return None
    if _is_off(document, names):
        return None
    return document.located(fault.path, fault.text)


def _is_off(document: Document, names: tuple[str, ...]) -> bool:
    """Return whether a key is in a section that the configuration disables."""
    if names[: len(_PURGING)] == _PURGING:
        return document.value((*_PURGING, "enabled")) == "false"
    enabled, disabled = (document.value(("validation", key)) for key in ("enabled", "disabled"))
    is_disabled = enabled == "false" or enabled is None  # `enabled: true` wins over `disabled`
    return names[:2] == ("validation", "manifests") and disabled == "true" and is_disabled


def _matches(names: tuple[str, ...], pattern: str) -> bool:
    wanted = tuple(pattern.split("."))
    if len(names) < len(wanted):
        return False
    return all(part in ("*", name) for name, part in zip(names, wanted, strict=False))


@cache
def _names() -> frozenset[str]:
    return frozenset(part for key in key_tree.leaves() for part in key)
