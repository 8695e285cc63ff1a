"""Sections of the configuration in the form that a file has."""

from __future__ import annotations

from registry_server.config.section import Section, key_of


def written_out(value: object) -> object:
    """Return a section, and all sections in it, as a mapping of every key to its value."""
    if isinstance(value, Section):
        return {key_of(name): written_out(getattr(value, name)) for name in value.field_names()}
    if isinstance(value, tuple):
        return tuple(map(written_out, value))
    return value
