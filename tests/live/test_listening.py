"""Where the server listens: a free port, a name with several addresses, a unix socket, TLS."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
from pathlib import Path

import pytest

from tests.live.programs import run, serving
from tests.live.sockets import Connection
from tests.live.transfers import until
from tests.support.certificates import certificate as make_certificate
from tests.support.machine import Machine
from tests.support.processes import free_port
from tests.support.tools import run as run_program
from tests.support.wire import sha256

pytestmark = pytest.mark.live


def configure(folder: Path, http: str) -> str:
    """Write a configuration with this `http` section; return its path."""
    (folder / "root").mkdir()
    text = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/root}}}}\n"
    (folder / "config.yml").write_text(f"{text}http: {http}\n")
    return str(folder / "config.yml")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_any_free_port(tmp_path: Path, workers: str) -> None:
    """Port 0 is a free one, and the server says which."""
    arguments = ["--port", "0", "--root", str(tmp_path), "--workers", workers]
    with serving(arguments, tmp_path) as server:
        host, _, port = server.where.rpartition(":")
        assert (host, port != "0") == ("127.0.0.1", True)
        with Connection.to(int(port)) as connection:
            assert connection.ask("GET /v2/ HTTP/1.1").status == 200


def test_without_a_word(tmp_path: Path) -> None:
    """No configuration at all: ./data is made and served."""
    env = {"REGISTRY_HTTP_ADDR": f"127.0.0.1:{free_port()}", "REGISTRY_HTTP_WORKERS": "1"}
    with serving([], tmp_path, env) as server:
        port = int(server.where.rpartition(":")[2])
        with Connection.to(port) as connection:
            target = f"/v2/a/blobs/uploads/?digest={sha256(b'x')}"
            assert connection.ask(f"POST {target} HTTP/1.1", b"x").status == 201
    assert (tmp_path / "data/docker/registry/v2/blobs").is_dir()


def test_a_unix_socket(tmp_path: Path) -> None:
    """`net: unix` serves on a socket, one left over by a crash included, and removes it."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    with serving(
        [configure(tmp_path, f"{{net: unix, addr: {path}, workers: 1}}")], tmp_path
    ) as server:
        assert server.where == str(path)
        plain = socket.socket(socket.AF_UNIX)
        plain.settimeout(20)
        plain.connect(str(path))
        with Connection(plain) as connection:
            assert connection.ask("GET /v2/ HTTP/1.1").status == 200
            begun = connection.ask("POST /v2/a/blobs/uploads/ HTTP/1.1\nX-Forwarded-For: 1.2.3.4")
            assert begun.header("Location").startswith("/v2/a/blobs/uploads/")
    assert not path.exists()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Make a certificate; its key lies beside it."""
    return make_certificate(tmp_path)


def test_tls(tmp_path: Path, certificate: Path) -> None:
    """A push and a pull over HTTPS; absolute URLs say https; plain HTTP is not served."""
    files = f"{{certificate: {certificate}, key: {tmp_path}/key.pem, minimumtls: tls1.3}}"
    http = f"{{addr: '127.0.0.1:{free_port()}', workers: 2, relativeurls: false, "
    path = configure(tmp_path, f"{http} tls: {files}}}")
    assert run(["check", path], tmp_path).returncode == 0
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving([path], tmp_path) as server:
        port = int(server.where.rpartition(":")[2])
        content = bytes(3_000_000)
        with Connection.secure(port, trusting) as connection:
            target = f"/v2/a/blobs/uploads/?digest={sha256(content)}"
            pushed = connection.ask(f"POST {target} HTTP/1.1", content)
            blob = f"/v2/a/blobs/{sha256(content)}"
            assert (pushed.status, pushed.header("Location")) == (201, f"https://localhost{blob}")
            assert connection.ask(f"GET {blob} HTTP/1.1").body == content
        with Connection.to(port) as plain:
            plain.send(b"DELETE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert plain.is_closed()
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            Connection.secure(port, trusting)


def test_ipv6(tmp_path: Path) -> None:
    """A bracketed address is listened on."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    path = configure(tmp_path, f"{{addr: '[::1]:{port}', workers: 1}}")
    with serving([path], tmp_path) as server:
        assert server.where == f"[::1]:{port}"
        with Connection(socket.create_connection(("::1", port), timeout=20)) as connection:
            assert connection.ask("GET /v2/ HTTP/1.1").status == 200


def has_ipv6() -> bool:
    """Tell whether ::1 can be listened on here."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def answers(host: str, port: int) -> int:
    """Return the status of `/v2/` at an address."""
    with Connection(socket.create_connection((host, port), timeout=20)) as connection:
        return connection.ask("GET /v2/ HTTP/1.1").status


@pytest.mark.parametrize("workers", [1, 2])
def test_localhost_is_both_loopback_addresses(tmp_path: Path, workers: int) -> None:
    """With the same port, also one that the system chose; after a reload and by other workers."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    path = configure(tmp_path, f"{{addr: 'localhost:0', workers: {workers}}}")
    with serving([path], tmp_path) as server:
        port = int(server.where.rpartition(":")[2])
        assert f'msg="listening on 127.0.0.1:{port} and [::1]:{port}"' in server.said
        assert [answers(host, port) for host in ("127.0.0.1", "::1")] == [200, 200]
        os.kill(server.process.pid, signal.SIGHUP)
        said = (
            "configuration reloaded"
            if workers == 1
            else "every request that began before the reload"
        )
        until(lambda: said in server.said, "it reloaded")
        assert [answers(host, port) for host in ("127.0.0.1", "::1")] == [200, 200]
    for host in ("127.0.0.1", "::1"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), timeout=20)


def test_a_second_address_that_is_in_use_is_a_warning(tmp_path: Path) -> None:
    """Distribution asks for the first alone, and starts; the first must be free."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    port = free_port()
    path = configure(tmp_path, f"{{addr: 'localhost:{port}', workers: 1}}")
    other = socket.create_server(("::1", port), family=socket.AF_INET6)
    with other, serving([path], tmp_path) as server:
        (warning,) = [line for line in server.said.splitlines() if "level=warning" in line]
        assert f"localhost also names [::1]:{port}" in warning
        assert "Address already in use" in warning
        assert answers("127.0.0.1", port) == 200
    with socket.create_server(("127.0.0.1", port)):
        done = run(["serve", path], tmp_path)
    assert (done.returncode, "in use" in done.stderr) == (2, True)


# ::1 and 127.0.0.1 are ours, the last is of no machine (RFC 5737).
HOSTS = "::1 registry.test\n127.0.0.1 registry.test\n192.0.2.1 registry.test\n"


def test_a_name_is_all_its_addresses_that_exist(tmp_path: Path) -> None:
    """Where IPv6 is off ::1 is not one, and that is no error; nor are those of other machines."""
    path = configure(tmp_path, "{addr: 'registry.test:5000', workers: 1}")
    switch = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
    with Machine(tmp_path / "machine") as machine:
        (machine.etc / "hosts").write_text(HOSTS)
        with serving([path], tmp_path, machine=machine) as server:
            both = re.search(r'msg="(listening on [^"]*)"', server.said)
        if switch.exists():
            run_program(machine.inside("sh", "-c", f"echo 1 > {switch}"))
        else:
            (machine.etc / "hosts").write_text(HOSTS.replace("::1", "2001:db8::1"))
        with serving([path], tmp_path, machine=machine) as server:
            one = re.search(r'msg="(listening on [^"]*)"', server.said)
    assert one is not None
    assert one[1] == "listening on 127.0.0.1:5000"
    assert both is not None
    if has_ipv6():
        assert both[1] == "listening on 127.0.0.1:5000 and [::1]:5000"
