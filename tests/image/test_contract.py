"""The image keeps the contract of registry:2's: what it names, what it runs, what it holds."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.main import get_command

from registry_server.commands.command_line import complete
from tests.support.engine import DockerEngine
from tests.support.servers import PROJECT

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(600)]

FILE = "/etc/docker/registry/config.yml"
COMMANDS = sorted(get_command(complete()).commands)  # type: ignore[attr-defined]


def test_the_image_names_registry_2s_port_volume_and_commands(
    docker: DockerEngine, image: str
) -> None:
    """An old `docker run` line needs nothing but the name of this image."""
    config = json.loads(docker("inspect", "--format={{json .Config}}", image))
    assert config["ExposedPorts"] == {"5000/tcp": {}}
    assert config["Volumes"] == {"/var/lib/registry": {}}
    assert config["Entrypoint"] == ["/entrypoint.sh"]
    assert config["Cmd"] == ["serve", FILE]
    assert config.get("User", "") == ""


def test_the_labels_describe_the_package(docker: DockerEngine, image: str) -> None:
    """Version and licence are those of pyproject.toml; no label names a host."""
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", image))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == project["version"]
    assert labels[f"{prefix}licenses"] == project["license"] == "Apache-2.0"
    assert labels[f"{prefix}title"] == project["name"]
    assert {f"{prefix}description", f"{prefix}revision"} <= labels.keys()
    assert "://" not in "".join(labels.values())


def test_the_image_holds_the_licence_and_nothing_that_installs_or_builds(
    docker: DockerEngine, image: str
) -> None:
    """LICENSE is in the image; pip, types, headers and tests of packages are not."""
    script = """
    cat /opt/registry/LICENSE
    ! python -m pip --version 2>/dev/null
    ! python -m ensurepip 2>/dev/null
    find / -xdev -type d -name pip
    find /opt/registry/venv -name tests -o -name '*.pyi' -o -name '*.h' -o -name '*.pyx'
    ls /tmp /var/lib/apt/lists
    """
    printed = docker("run", "--rm", "--network=none", image, "sh", "-euc", script)
    licence = (PROJECT / "LICENSE").read_text().strip()
    assert printed.startswith(licence)
    rest = printed.removeprefix(licence).split()
    assert rest == ["/tmp:", "/var/lib/apt/lists:"]


def test_no_setting_of_the_build_is_left_in_the_image(docker: DockerEngine, image: str) -> None:
    """The index and its password, which build arguments may hold, are not in the history."""
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image)
    environment = docker("inspect", "--format={{json .Config.Env}}", image)
    assert "PIP_" not in history + environment


def test_every_command_of_the_cli_is_a_command_of_the_image(
    docker: DockerEngine, image: str
) -> None:
    """The entrypoint knows the commands that the CLI has; `du` is the registry's."""
    known = docker("run", "--rm", "--network=none", image, "cat", "/opt/registry/commands")
    assert sorted(known.split()) == COMMANDS
    printed = docker("run", "--rm", "--network=none", image, "du", "--help")
    assert "Usage: registry-server du" in printed


def test_the_program_has_registry_2s_name_too(docker: DockerEngine, image: str) -> None:
    """`docker run IMAGE registry COMMAND FILE` works as with registry:2."""
    printed = docker("run", "--rm", "--network=none", image, "registry", "check", FILE)
    assert FILE in printed


def test_any_other_program_is_run(docker: DockerEngine, image: str) -> None:
    """What is no command of the registry is a program, with its arguments as they are."""
    assert docker("run", "--rm", "--network=none", image, "echo", "a  b") == "a  b"


def test_a_command_without_a_file_uses_the_images(docker: DockerEngine, image: str) -> None:
    """`docker run IMAGE check` reads the image's configuration file."""
    assert FILE in docker("run", "--rm", "--network=none", image, "check")
