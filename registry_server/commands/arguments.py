"""The arguments of commands that take a configuration and names of repositories.

    registry-server delete library/app                      ./data, and REGISTRY_* variables
    registry-server delete config.yml library/app
    registry-server delete --config registry.conf library/app

CONFIG is optional and comes first. The first argument is a configuration if it looks like a file:
it ends in `.yml` or `.yaml`, or begins with a slash or a dot, as no name does. This does not depend
on the disk, so a missing or misspelt configuration is an error and never a repository's name.
`--config` takes any other file; then every argument is a name, even `app.yml`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from registry_server.commands.common import fail
from storage.errors import NameInvalid
from storage.values.names import RepositoryName

ConfigAndNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG|NAME",
        help="Repository names. Without --config, a first argument that ends in .yml or .yaml, or "
        "begins with / or ., is the configuration file.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        readable=False,
        help="Configuration file, in the format of CNCF distribution's config.yml.",
    ),
]


class Arguments(NamedTuple):
    """The configuration, if given, and the repositories without duplicates."""

    config: Path | None
    names: tuple[RepositoryName, ...]


def only_config(argument: Path | None, option: Path | None) -> Path | None:
    """Return the configuration given as an argument or option; fail when both differ."""
    if argument is not None and option is not None and argument != option:
        fail(f"two configurations are given: {argument} and --config {option}")
    return argument if option is None else option


def read_arguments(words: Sequence[str], config: Path | None) -> Arguments:
    """Separate the configuration from the names; fail when a name is invalid."""
    if config is None and words and looks_like_a_file(words[0]):
        config, words = Path(words[0]), words[1:]
    try:
        names = [RepositoryName.parse(word) for word in words]
    except NameInvalid as error:
        fail(str(error))
    return Arguments(config, tuple(dict.fromkeys(names)))


def looks_like_a_file(word: str) -> bool:
    """Return whether a first argument is a configuration and not a repository's name."""
    return word.endswith((".yml", ".yaml")) or word.startswith(("/", "."))
