"""TLS as programs meet it: one that would rather speak HTTP/2, and a key that can't be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.live.programs import COMMAND, environment, serving
from tests.support.certificates import certificate
from tests.support.nginx import Nginx
from tests.support.servers import RegistryServer
from tests.support.tools import require_tool, run

pytestmark = pytest.mark.live


def configure(folder: Path) -> str:
    """Write a certificate and a configuration that serves with it; return the file's name."""
    tls = {"certificate": f"{certificate(folder)}", "key": f"{folder}/key.pem"}
    document = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder)}},
        "http": {"addr": "127.0.0.1:0", "workers": 1, "tls": tls},
    }
    (folder / "config.yml").write_text(json.dumps(document))
    return "config.yml"


def spoken(folder: Path, address: str) -> str:
    """Return the version of HTTP that curl gets an answer in, when it offers 2."""
    curl = [require_tool("curl"), "-sS", "--fail", "--http2", "--cacert", f"{folder}/cert.pem"]
    written = ["--write-out", "%{http_version}", "--output", f"{folder}/body"]
    return run([*curl, *written, f"https://{address}/v2/"])


def test_a_client_that_wants_http_2_falls_back(tmp_path: Path) -> None:
    """It is answered, in HTTP/1.1."""
    with serving([configure(tmp_path)], tmp_path) as server:
        assert spoken(tmp_path, server.where) == "1.1"


def test_nginx_speaks_http_2_for_the_registry(tmp_path: Path) -> None:
    """With the block of the manual, clients get it from there."""
    with (
        RegistryServer(tmp_path / "server") as server,
        Nginx(tmp_path / "nginx", server, certificate=certificate(tmp_path)) as nginx,
    ):
        assert spoken(tmp_path, nginx.address) == "2"


def test_a_key_with_a_passphrase_is_refused_at_once(tmp_path: Path) -> None:
    """It is not asked for on the terminal, which may be unattended."""
    file = configure(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "key.pem").write_bytes(encrypted)
    on_a_terminal = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
    done = subprocess.run(
        [sys.executable, "-c", on_a_terminal, *COMMAND, "check", file],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert f"http.tls.key: {tmp_path}/key.pem has a passphrase" in done.stdout
    assert "pass phrase" not in done.stdout
    assert done.returncode == 2
