"""The settings that `serve` has read, and their sources."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from registry_server.config import Loaded, Overrides


@dataclass(frozen=True, slots=True)
class Invocation:
    """The configuration that was read, and what a reload reads: the file and the options."""

    loaded: Loaded
    path: Path | None
    overrides: Overrides

    def load(self) -> Loaded:
        """Read the configuration again; raise `ConfigError` when it can't be used."""
        # Imports pydantic and YAML, which take 13 MiB, only into the process that reads.
        from registry_server.config.load import load

        return load(self.path, os.environ, self.overrides)
