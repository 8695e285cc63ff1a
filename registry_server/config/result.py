"""What the command line adds to a configuration, and the result of reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from registry_server.config.problems import Problem
from registry_server.config.schema import Settings


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line sets; None leaves it to the environment and the file."""

    host: str | None = None
    port: int | None = None
    root: Path | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what an operator should see about them.

    `warnings` are lines, and `notices` the same in parts. `exposure` has further warnings, which
    only a server and `check` show. `file` is what was read, or None.
    """

    settings: Settings
    warnings: tuple[str, ...]
    notices: tuple[Problem, ...] = ()
    file: Path | None = None
    exposure: tuple[Problem, ...] = ()
