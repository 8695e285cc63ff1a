"""What a configuration that was read anew changes, and what has to wait for a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from registry_server.config import ConfigError, Loaded, Settings
from registry_server.config.exposure import exposure, unknown_realm
from registry_server.config.problems import Problem, Unlocated
from registry_server.config.section import Section

AnySection = TypeVar("AnySection", bound=Section)

# The listener is bound and the workers are counted at the start. The storage, with its threads,
# outlives a reload where there is one process, and so it does as if where there are several.
_FIXED_OF_HTTP = ("net", "addr", "workers")
_FIXED_OF_STORAGE = ("filesystem", "inmemory")
_FIXED = "was changed, which needs a restart: until then its old value stays in force"


@dataclass(frozen=True, slots=True)
class Settled:
    """The settings to go on with, the keys that changed, and what an operator should see."""

    settings: Settings
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


def settle(before: Settings, read: Loaded) -> Settled:
    """Take from what was read all that can change while the registry serves (pure).

    Raises ConfigError if what was read does not suit the address that stays.
    """
    wanted = read.settings
    http = _with(wanted.http, before.http, _FIXED_OF_HTTP)
    if _speaks_tls(wanted) != _speaks_tls(before):
        http = _with(http, before.http, ("tls",))
    storage = _with(wanted.storage, before.storage, _FIXED_OF_STORAGE)
    settled = replace(wanted, http=http, storage=storage)
    fixed = (f"{key} {_FIXED}" for key in _differences(settled, wanted))
    changed = tuple(_differences(before, settled))
    shown = read.exposure
    if settled.http.endpoint != wanted.http.endpoint or settled.http.tls != wanted.http.tls:
        shown = _of_listener(settled)
    return Settled(settled, changed, (*read.warnings, *map(str, shown), *fixed))


def _of_listener(settled: Settings) -> tuple[Problem, ...]:
    """Return the warnings about the address that stays, which no document has."""
    if refusals := tuple(unknown_realm(settled, Unlocated())):
        raise ConfigError(refusals)
    return tuple(exposure(settled, Unlocated()))


def _with(section: AnySection, before: AnySection, keys: tuple[str, ...]) -> AnySection:
    return replace(section, **{key: getattr(before, key) for key in keys})


def _speaks_tls(settings: Settings) -> bool:
    return settings.http.tls.certificate is not None


def _differences(one: Section, other: Section, above: str = "") -> Iterator[str]:
    """Yield the full key of every value that differs; values may be secrets, and are not said."""
    for name in one.field_names():
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, Section) and isinstance(right, Section):
            yield from _differences(left, right, f"{above}{name}.")
        elif left != right:
            yield f"{above}{name}"
