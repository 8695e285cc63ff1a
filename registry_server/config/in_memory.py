"""`storage.inmemory`: images in the memory of the one process that serves, for tests.

There is no folder, so what needs one is an error where the registry would lack what was meant, and
a warning where it lacks an amenity. The parameters of the driver are ignored, as in distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from registry_server.config.problems import Problem
from registry_server.config.schema import Settings

if TYPE_CHECKING:
    from registry_server.config.document import Document

KEY = "storage.inmemory"
NO_RULES = (
    f"needs a folder for the robots and the key of tokens, which {KEY} does not have: "
    "use storage.filesystem, or auth.htpasswd without rules"
)


def refusals(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield what was asked for and needs a folder."""
    if lacks_folder(settings):
        name = "rules" if settings.access.file is None else "file"
        yield document.located(("access", name), NO_RULES)


def lacks_folder(settings: Settings) -> bool:
    """Tell whether rules ask for robots and a signing key, and no folder can have them."""
    return settings.gives_tokens and settings.storage.root is None


def warnings(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield that images are lost, and which keys have no effect."""
    if settings.storage.root is not None:
        return
    yield document.located(
        ("storage", "inmemory"),
        "keeps images in memory, without a limit, and they are lost when the server stops: "
        "for tests",
    )
    is_set = document.value(("http", "workers")) is not None
    if is_set and settings.http.workers > 1:
        said = f"counts as 1: with {KEY} one process has the images"
        yield document.located(("http", "workers"), said)
    if settings.storage.maintenance.garbagecollection.enabled:
        path = ("storage", "maintenance", "garbagecollection")
        yield document.located(path, f"has no effect with {KEY}: no garbage is collected")


def with_one_worker(settings: Settings) -> Settings:
    """Return the settings with one worker where images are in memory."""
    if settings.storage.root is not None:
        return settings
    return replace(settings, http=replace(settings.http, workers=1))
