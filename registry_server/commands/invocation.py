"""The settings that `serve` has loaded, and their sources."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from registry_server.config import LoadedSettings, Overrides


@dataclass(frozen=True, slots=True)
class Invocation:
    """The loaded configuration, and what a reload reads: the file and the options."""

    loaded: LoadedSettings
    path: Path | None
    overrides: Overrides

    def load(self) -> LoadedSettings:
        """Reload the configuration; raise `ConfigError` when it is invalid."""
        # Imports pydantic and YAML, 13 MiB, only into the process that loads the configuration.
        from registry_server.config.load import load

        return load(self.path, os.environ, self.overrides)
