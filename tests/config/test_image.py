"""The container image replaces registry:2's: the same commands, file and port."""

import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from registry_server.config import ListenAddress
from registry_server.config.load import load

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILE = "/etc/docker/registry/config.yml"


@pytest.mark.parametrize(
    ("arguments", "ran"),
    [
        (["serve", FILE], f"registry-server serve {FILE}"),
        ([FILE], f"registry-server serve {FILE}"),
        (["/x.yaml"], "registry-server serve /x.yaml"),
        (["garbage-collect", "-m", FILE], f"registry-server garbage-collect -m {FILE}"),
        (["du", "a/b"], "registry-server du a/b"),
        (["--help"], "registry-server --help"),
        (["registry", "serve", FILE], f"registry serve {FILE}"),
        (["echo", "a  b"], "a  b"),
        (["ser"], "another ser"),
    ],
)
def test_the_entrypoint_understands_registry_2s_commands(
    tmp_path: Path, arguments: list[str], ran: str
) -> None:
    """A file, a command, an option, the old name of the program, and any other program."""
    for name in ("registry-server", "registry"):
        _write_program(tmp_path / name, f'echo "{name} $*"')
    _write_program(tmp_path / "ser", 'echo "another ser"')
    listed = subprocess.run(
        [sys.executable, str(DOCKER / "list_commands.py")],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    commands = tmp_path / "commands"
    commands.write_text(listed.stdout)
    script = (DOCKER / "entrypoint.sh").read_text().replace("/opt/registry/commands", str(commands))
    _write_program(tmp_path / "entrypoint", script)
    done = subprocess.run(
        [str(tmp_path / "entrypoint"), *arguments],
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{ran}\n"


def _write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_images_file_serves_the_volume_on_every_interface() -> None:
    """The image's file has registry:2's address and root, and no warning."""
    loaded = load(DOCKER / "config.yml", {})
    assert loaded.settings.http.listen_address == ListenAddress("", 5000)
    assert loaded.settings.storage.filesystem.rootdirectory == Path("/var/lib/registry")
    assert loaded.warnings == ()


def test_the_dockerfile_copies_existing_files() -> None:
    """No COPY uses a file that is missing or excluded by .dockerignore."""
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    dockerfile = (ROOT / "Dockerfile").read_text()
    copies = re.findall(r"^COPY ([^-].*) \S+$", dockerfile, re.MULTILINE)
    sources = [source for copy in copies for source in copy.split()]
    assert len(sources) >= 9
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in allowed), source


def test_the_dockerfile_names_registry_2s_port_volume_and_file() -> None:
    """An existing `docker run` command only needs the name of the new image."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    for line in (
        "EXPOSE 5000",
        "VOLUME /var/lib/registry",
        f'CMD ["serve", "{FILE}"]',
        "STOPSIGNAL SIGTERM",
    ):
        assert f"\n{line}" in dockerfile


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n", ""),
        (b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request", ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n", ""),
        (b"\x15\x03\x03\x00\x02\x02\x46", ""),
        (b"", ""),
        (b"HTTP/1.1 500 Internal Server Error\r\n", "here: status 500"),
    ],
)
def test_the_health_check_accepts_any_response_but_a_server_error(
    answer: bytes, problem: str
) -> None:
    """TLS, a refusal and a busy server are healthy."""
    problem_of = runpy.run_path(str(DOCKER / "healthcheck.py"))["problem_of"]
    assert problem_of(answer, "here") == problem


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_health_check_finds_the_listeners_of_a_process(host: str, tmp_path: Path) -> None:
    """The addresses are those of the process's listening sockets, without connections."""
    listening_addresses = runpy.run_path(str(DOCKER / "healthcheck.py"))["listening_addresses"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    path = str(tmp_path / "socket")
    with (
        socket.create_server((host, 0), family=family) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.create_connection(tcp.getsockname()[:2]),
    ):
        unix.bind(path)
        unix.listen()
        found = listening_addresses(os.getpid())
        assert (host, tcp.getsockname()[1]) in found
        assert path in found
        assert len(found) == len(set(found))


def test_the_health_check_of_a_wildcard_address_connects_to_loopback() -> None:
    """A socket on all addresses, of IPv4 or of both families, is reached at 127.0.0.1."""
    reachable = runpy.run_path(str(DOCKER / "healthcheck.py"))["_reachable"]
    assert {reachable("0" * 8), reachable("0" * 32)} == {"127.0.0.1"}


def test_a_command_uses_the_file_and_root_of_the_running_server() -> None:
    """The arguments of `serve` are parsed as on the command line."""
    variables_of = runpy.run_path(str(DOCKER / "launcher.py"))["variables_of"]
    file, root = "REGISTRY_CONFIGURATION_PATH", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"
    assert variables_of([]) == {}
    assert variables_of(["--port", "1", "a.yml"]) == {file: "a.yml"}
    assert variables_of(["--config=b.conf", "--root", "/x"]) == {file: "b.conf", root: "/x"}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("garbage-collect", False),
        ("garbage-collect -m=true --dry-run=false", False),
        ("garbage-collect --root /x", False),
        ("garbage-collect -m=true registry.conf", True),
        ("garbage-collect --dry-run=false --config=/a/b", True),
        ("du library/app", False),
        ("du --config a library/app", True),
        ("delete /etc/other.yml library/app", True),
        ("robots list", False),
        ("robots list --config a.yml", True),
        ("garbage-collect --dry-run=maybe a.yml", False),
        ("nothing a.yml", False),
        ("", False),
    ],
)
def test_a_command_that_names_a_file_keeps_the_root_of_that_file(words: str, named: bool) -> None:
    """The command would otherwise collect the root of the running server."""
    names = runpy.run_path(str(DOCKER / "launcher.py"))["names_a_configuration"]
    assert names(words.split()) is named


@pytest.fixture(autouse=True)
def _docker_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs of the image import their neighbours, as their interpreter does."""
    monkeypatch.syspath_prepend(str(DOCKER))


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
@pytest.mark.parametrize("name", ["entrypoint.sh"])
def test_the_scripts_are_executable_and_parse(name: str) -> None:
    """A shell parses them without running them."""
    script = DOCKER / name
    assert os.access(script, os.X_OK)
    subprocess.run(["/bin/sh", "-n", str(script)], check=True)
