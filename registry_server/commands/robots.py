"""`registry-server robots`: create, list and revoke robot accounts.

Exit codes: 0 done; 1 the robot account exists already, or does not exist, or the file of robot
accounts can't be read or written; 2 the command line or the configuration is invalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry_server.commands.arguments import ConfigOption
from registry_server.commands.common import RootFolder, fail, settings_of_storage
from registry_server.commands.exit_codes import FAILED

if TYPE_CHECKING:
    from registry_server.access.robots import Robot, RobotStore

robots = typer.Typer(
    name="robots",
    help="Create, list and revoke robot accounts. Safe while the server runs.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name; the robot logs in as robot:NAME.")]


@robots.command()
def create(
    name: Name,
    expires: Annotated[
        str | None, typer.Option(help="Lifetime, such as 90d or 12h; default: never expires.")
    ] = None,
    description: Annotated[str, typer.Option(help="Purpose, in one line.")] = "",
    config: ConfigOption = None,
    root: RootFolder = None,
) -> None:
    """Create a robot account and print its secret, which cannot be shown again."""
    from registry_server.access.robots import RobotExists, check_description
    from registry_server.config.robot_names import check_robot_name

    try:
        check_robot_name(name)
        check_description(description)
        ends = None if expires is None else _end(expires)
    except ValueError as error:
        fail(str(error))
    with _storing(config, root) as store:
        try:
            secret = store.create(name, ends, description).secret
        except (RobotExists, ValueError) as error:
            fail(str(error), FAILED)
    typer.echo(f"Secret of robot:{name} (or robot${name}), shown only once:", err=True)
    typer.echo(secret)


@robots.command("list")
def list_robots(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document.")] = False,
    config: ConfigOption = None,
    root: RootFolder = None,
) -> None:
    """List robot accounts: name, creation, expiry, description."""
    with _storing(config, root) as store:
        listed = store.list()
    if as_json:
        typer.echo(json.dumps({"robots": [_plain(robot) for robot in listed]}, indent=2))
        return
    for robot in listed:
        typer.echo(_line(robot, datetime.now(UTC)))


@robots.command()
def revoke(name: Name, config: ConfigOption = None, root: RootFolder = None) -> None:
    """Delete a robot account, effective immediately."""
    with _storing(config, root) as store:
        if not store.revoke(name):
            fail(f"robot:{name} does not exist", FAILED)


@contextmanager
def _storing(config: Path | None, root: Path | None) -> Iterator[RobotStore]:
    """Yield the robot accounts of the configured root; fail when they can't be read or written."""
    from registry_server.access.robots import RobotsDamaged, RobotStore, robots_file

    folder = settings_of_storage(config, root).storage.filesystem.rootdirectory
    path = robots_file(folder)
    try:
        yield RobotStore(path)
    except RobotsDamaged as error:
        fail(str(error), FAILED)
    except OSError as error:
        fail(f"{path} can't be read or written: {error.strerror or error}", FAILED)


def _end(text: str) -> datetime:
    from registry_server.access.robots import parse_lifetime

    try:
        return datetime.now(UTC) + parse_lifetime(text)
    except ValueError as error:
        raise ValueError(f"--expires {text!r} {error}") from None


def _plain(robot: Robot) -> dict[str, str | None]:
    from registry_server.access.robots import format_moment

    return {
        "name": robot.login,
        "created": format_moment(robot.created),
        "expires": None if robot.expires is None else format_moment(robot.expires),
        "description": robot.description,
    }


def _line(robot: Robot, now: datetime) -> str:
    from registry_server.access.robots import format_moment

    if robot.expires is None:
        ends = "never expires"
    else:
        verb = "expired" if robot.is_expired(now) else "expires"
        ends = f"{verb} {format_moment(robot.expires)}"
    made = f"{robot.login} created {format_moment(robot.created)} {ends}"
    return f"{made} {robot.description}".rstrip()
