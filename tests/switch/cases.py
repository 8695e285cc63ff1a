"""The configurations: the settings of each server, and the credentials of clients.

A file in `configurations/` maps names to cases. In texts, `<root>`, `<port>` and the other names
of `Placeholders` stand for values that differ for each server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

CONFIGURATIONS = Path(__file__).parent / "configurations"


class Case(BaseModel):
    """A configuration that is in use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    config: str | None = None
    """The text of the configuration file; without one, the built-in file of registry:2."""
    environment: Mapping[str, str] = Field(default_factory=dict)
    login: str = ""
    """How a client authenticates: `password`, `token`, or not at all."""
    tls: str = ""
    """`server`, or `client` when the server asks for a certificate."""
    prefix: str = ""
    socket: bool = False
    readonly: bool = False
    """The volume is mounted read-only."""
    files: Mapping[str, str] = Field(default_factory=dict)
    """More files beside the configuration, by name."""
    missing: tuple[str, ...] = ()
    """Which of the usual files and folders do not exist when the server starts."""


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The values of the names in angle brackets; all paths are the server's own."""

    folder: Path
    port: int
    debug: int

    def fill(self, text: str) -> str:
        """Return a text with every name replaced."""
        values = {
            "root": self.folder / "root",
            "folder": self.folder,
            "port": self.port,
            "debug": self.debug,
            "users": self.folder / "users",
            "certificate": self.folder / "certificate.pem",
            "key": self.folder / "certificate.key",
            "authority": self.folder / "authority.pem",
            "socket": self.folder / "socket",
        }
        for name, value in values.items():
            text = text.replace(f"<{name}>", str(value))
        return text


def cases() -> dict[str, Case]:
    """Return every configuration by its name."""
    found: dict[str, Case] = {}
    for path in sorted(CONFIGURATIONS.glob("*.yaml")):
        for name, case in yaml.safe_load(path.read_text()).items():
            assert name not in found, f"{name} is there twice"
            found[name] = Case.model_validate(case)
    return found
