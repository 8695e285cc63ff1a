"""The arguments of commands that take names of repositories behind the configuration.

    registry-server delete library/app                      ./data, and REGISTRY_* variables
    registry-server delete config.yml library/app
    registry-server delete --config registry.conf library/app

CONFIG is optional for every command and stands first, so the first argument is one if it looks
like a file: it ends in `.yml` or `.yaml`, or begins with a slash or a dot, as no name does. What
is on the disk has no say in that: a configuration that is missing or misspelt is an error, and
never the name of a repository. `--config` is for all other files; then every argument is a name,
and a repository that is called `app.yml` can be named as well.
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
        help="A first argument that ends in .yml or .yaml, or begins with / or ., is config.yml in "
        "CNCF distribution's schema; all others, and all beside --config, are names of "
        "repositories.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        readable=False,
        help="config.yml in CNCF distribution's schema.",
    ),
]


class Arguments(NamedTuple):
    """A configuration, if one was given, and repositories, each once."""

    config: Path | None
    names: tuple[RepositoryName, ...]


def only_config(argument: Path | None, option: Path | None) -> Path | None:
    """Return the configuration that was given as an argument or an option.

    Ends the program when both were given and differ.
    """
    if argument is not None and option is not None and argument != option:
        fail(f"two configurations are given: {argument} and --config {option}")
    return argument if option is None else option


def read_arguments(words: Sequence[str], config: Path | None) -> Arguments:
    """Tell the configuration from the names; end the program when a name can't be one."""
    if config is None and words and looks_like_a_file(words[0]):
        config, words = Path(words[0]), words[1:]
    try:
        names = [RepositoryName.parse(word) for word in words]
    except NameInvalid as error:
        fail(str(error))
    return Arguments(config, tuple(dict.fromkeys(names)))


def looks_like_a_file(word: str) -> bool:
    """Tell whether a first argument is a configuration, and no name of a repository."""
    return word.endswith((".yml", ".yaml")) or word.startswith(("/", "."))
