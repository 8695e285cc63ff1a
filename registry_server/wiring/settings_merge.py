"""Which settings a reload applies, and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from registry_server.config import ConfigError, LoadedSettings, Settings
from registry_server.config.exposure import exposure, unknown_realm
from registry_server.config.problems import Problem, Unlocated
from registry_server.config.section import Section

AnySection = TypeVar("AnySection", bound=Section)

# The listener is bound and the number of workers is fixed at startup. A single process keeps its
# storage driver and its threads over a reload; several processes behave the same.
_FIXED_OF_HTTP = ("net", "addr", "workers")
_FIXED_OF_STORAGE = ("filesystem", "inmemory")
_FIXED = "was changed, which needs a restart: until then its old value stays in force"


@dataclass(frozen=True, slots=True)
class MergedSettings:
    """The settings to apply, the keys that changed, and warnings for the operator."""

    settings: Settings
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


def merge_settings(before: Settings, read: LoadedSettings) -> MergedSettings:
    """Merge the new settings with those of `before` that need a restart (pure).

    Raises ConfigError if the new settings don't fit the address, which stays.
    """
    wanted = read.settings
    http = _with(wanted.http, before.http, _FIXED_OF_HTTP)
    if _speaks_tls(wanted) != _speaks_tls(before):
        http = _with(http, before.http, ("tls",))
    storage = _with(wanted.storage, before.storage, _FIXED_OF_STORAGE)
    merged = replace(wanted, http=http, storage=storage)
    fixed = (f"{key} {_FIXED}" for key in _differences(merged, wanted))
    changed = tuple(_differences(before, merged))
    exposure_warnings = read.exposure
    if (
        merged.http.listen_address != wanted.http.listen_address
        or merged.http.tls != wanted.http.tls
    ):
        exposure_warnings = _of_listener(merged)
    return MergedSettings(merged, changed, (*read.warnings, *map(str, exposure_warnings), *fixed))


def _of_listener(merged: Settings) -> tuple[Problem, ...]:
    """Return the warnings about the address that stays, which is not in the new configuration."""
    if refusals := tuple(unknown_realm(merged, Unlocated())):
        raise ConfigError(refusals)
    return tuple(exposure(merged, Unlocated()))


def _with(section: AnySection, before: AnySection, keys: tuple[str, ...]) -> AnySection:
    return replace(section, **{key: getattr(before, key) for key in keys})


def _speaks_tls(settings: Settings) -> bool:
    return settings.http.tls.certificate is not None


def _differences(one: Section, other: Section, above: str = "") -> Iterator[str]:
    """Yield the full key of every value that differs; the values may be secrets."""
    for name in one.field_names():
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, Section) and isinstance(right, Section):
            yield from _differences(left, right, f"{above}{name}.")
        elif left != right:
            yield f"{above}{name}"
