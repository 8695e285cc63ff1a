"""Overrides of the command line, and the loaded configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry_server.config.problems import Problem
from registry_server.config.schema import Settings


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of the command line; None leaves a setting to the environment and the file."""

    host: str | None = None
    port: int | None = None
    root: Path | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings, and the warnings about them.

    `warnings` are the lines of `notices`. `exposure` has further warnings, which only the server
    and `check` show. `file` is the path of the configuration, or None.
    """

    settings: Settings
    warnings: tuple[str, ...]
    notices: tuple[Problem, ...] = ()
    file: Path | None = None
    exposure: tuple[Problem, ...] = ()
