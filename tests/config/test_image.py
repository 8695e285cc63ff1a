"""The container image takes the place of registry:2's: its commands, its file, its port."""

import http.server
import os
import re
import runpy
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry_server.config import Endpoint, load

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
        (["--help"], "registry-server --help"),
        (["registry", "serve", FILE], f"registry-server serve {FILE}"),
        (["echo", "a  b"], "a  b"),
    ],
)
def test_the_entrypoint_understands_registry_2s_commands(
    tmp_path: Path, arguments: list[str], ran: str
) -> None:
    """A file, a command, an option, the program's old name, and any other program."""
    program = tmp_path / "registry-server"
    program.write_text('#!/bin/sh\necho "registry-server $*"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(DOCKER / "entrypoint.sh"), *arguments],
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{ran}\n"


def test_the_images_file_serves_the_volume_on_every_interface() -> None:
    """What the image serves with is registry:2's address and root, without a warning."""
    loaded = load(DOCKER / "config.yml", {})
    assert loaded.settings.http.endpoint == Endpoint("", 5000)
    assert loaded.settings.storage.filesystem.rootdirectory == Path("/var/lib/registry")
    assert loaded.warnings == ()


def test_the_dockerfile_copies_files_that_exist_and_the_builder_may_see() -> None:
    """No COPY names a file that is missing or that .dockerignore keeps away."""
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    dockerfile = (ROOT / "Dockerfile").read_text()
    sources = re.findall(r"^COPY (?:--chmod=\S+ )?([^-/]\S*) ", dockerfile, re.MULTILINE)
    assert len(sources) >= 6
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in allowed), source


def test_the_dockerfile_names_registry_2s_port_volume_and_file() -> None:
    """An old `docker run` line needs nothing but the new image's name."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    for line in (
        "EXPOSE 5000",
        "VOLUME /var/lib/registry",
        f'CMD ["serve", "{FILE}"]',
        "STOPSIGNAL SIGTERM",
    ):
        assert f"\n{line}" in dockerfile


@contextmanager
def _answering(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/" else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output to itself."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _health(tmp_path: Path, addr: str) -> int:
    path = tmp_path / "config.yml"
    path.write_text(f"version: 0.1\nhttp: {{addr: '{addr}'}}\n")
    main = runpy.run_path(str(DOCKER / "healthcheck.py"))["main"]
    return int(main([str(path)]))


@pytest.mark.parametrize(("status", "code"), [(200, 0), (401, 0), (500, 1), (404, 1)])
def test_the_health_check_asks_the_base_endpoint(tmp_path: Path, status: int, code: int) -> None:
    """A registry that answers is healthy, with or without access control."""
    with _answering(status) as port:
        assert _health(tmp_path, f"127.0.0.1:{port}") == code


def test_the_health_check_of_a_wildcard_address_asks_this_machine(tmp_path: Path) -> None:
    """No host in the address means that 127.0.0.1 answers too."""
    with _answering(200) as port:
        assert _health(tmp_path, f":{port}") == 0


def test_the_health_check_says_when_nobody_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registry that is not there, or has no usable file, is unhealthy in one line."""
    with _answering(200) as port:
        pass
    assert _health(tmp_path, f"127.0.0.1:{port}") == 1
    assert _health(tmp_path, "nonsense") == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")
@pytest.mark.parametrize("name", ["entrypoint.sh", "registry-server"])
def test_the_scripts_are_executable_and_parse(name: str) -> None:
    """A shell reads them to the end without running them."""
    script = DOCKER / name
    assert os.access(script, os.X_OK)
    subprocess.run(["/bin/sh", "-n", str(script)], check=True)
