"""Errors and warnings about settings that `storage.inmemory` cannot support.

That driver keeps images in the memory of a single process, for tests. Settings that need a folder
are an error if access control depends on them, and otherwise a warning. The driver's parameters are
ignored, as in distribution.
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
    f"needs a folder for robot accounts and the token key, and {KEY} has none: "
    "use storage.filesystem, or auth.htpasswd without rules"
)


def refusals(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield an error for access rules without a folder."""
    if lacks_folder(settings):
        name = "rules" if settings.access.file is None else "file"
        yield document.located(("access", name), NO_RULES)


def lacks_folder(settings: Settings) -> bool:
    """Return whether access rules need robot accounts and a token key, and there is no folder."""
    return settings.gives_tokens and settings.storage.root is None


def warnings(settings: Settings, document: Document) -> Iterator[Problem]:
    """Yield that images are not kept, and which keys have no effect."""
    if settings.storage.root is not None:
        return
    yield document.located(
        ("storage", "inmemory"),
        "keeps images in memory without a limit and loses them when the server stops: use it only "
        "for tests",
    )
    is_set = document.value(("http", "workers")) is not None
    if is_set and settings.http.workers > 1:
        message = f"counts as 1: with {KEY} a single process holds the images"
        yield document.located(("http", "workers"), message)
    if settings.storage.maintenance.garbagecollection.enabled:
        path = ("storage", "maintenance", "garbagecollection")
        yield document.located(path, f"has no effect with {KEY}: no garbage is collected")


def with_one_worker(settings: Settings) -> Settings:
    """Return the settings, with one worker if images are in memory."""
    if settings.storage.root is not None:
        return settings
    return replace(settings, http=replace(settings.http, workers=1))
