"""Fixtures that write a configuration file and load it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from registry_server.config import ConfigError, LoadedSettings, Overrides
from registry_server.config.load import load

Read = Callable[..., LoadedSettings]
Refuse = Callable[..., tuple[str, ...]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load a configuration from its text, with an environment and options."""

    def read(
        text: str, environ: Mapping[str, str] | None = None, overrides: Overrides | None = None
    ) -> LoadedSettings:
        path = tmp_path / "config.yml"
        path.write_text(text)
        return load(path, environ or {}, overrides or Overrides())

    return read


@pytest.fixture
def refuse(read: Read, tmp_path: Path) -> Refuse:
    """Load a configuration that must be refused; return the problems, without the folder."""

    def refuse(
        text: str, environ: Mapping[str, str] | None = None, overrides: Overrides | None = None
    ) -> tuple[str, ...]:
        """Load a configuration that must be refused; return the problems, without the folder."""
        with pytest.raises(ConfigError) as caught:
            read(text, environ, overrides)
        return tuple(problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems)

    return refuse
