"""The real nginx in front of a registry, with the server block that docs/nginx.md shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import psutil
import yaml

from tests.support.machine import Machine
from tests.support.processes import Daemon, free_port
from tests.support.servers import PROJECT
from tests.support.tools import require_tool, run
from tests.support.wire import OnLoopback

MANUAL = PROJECT / "docs/nginx.md"
# What the manual's block names: a host, and files.
NAME = "registry.example.com"
CERTIFICATE, KEY = "/etc/ssl/registry.pem", "/etc/ssl/registry.key"
_BLOCK = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAYS_IT_SERVES = b"start worker process "

# Everything that Debian's nginx would put below /var and /run stays in the folder. Workers run as
# the user of the tests: no other one gets into a test's temporary folder. Other sites beside the
# registry may want their answers compressed, whatever they are. The second log says which port was
# shown credentials of which kind, and no password.
_MAIN = """
{user}
daemon off;
pid nginx.pid;
worker_processes 2;
error_log stderr notice;
events {{}}
http {{
    log_format bytes '$request_method $uri $status $body_bytes_sent';
    access_log access.log bytes;
    map $http_authorization $shown {{
        "" nothing;
        ~*^basic basic;
        default other;
    }}
    log_format shown '$server_port $shown $request_method $uri';
    access_log shown.log shown;
    gzip on;
    gzip_types *;
    gzip_proxied any;
    client_body_temp_path bodies;
    proxy_temp_path answers;
    fastcgi_temp_path unused;
    scgi_temp_path unused;
    uwsgi_temp_path unused;
{block}
}}
"""


def server_block(names: Mapping[str, str]) -> str:
    """Return the block of the manual with its names replaced; each must be there."""
    (block,) = _BLOCK.findall(MANUAL.read_text())
    for shown, real in names.items():
        assert shown in block, f"{shown} is not in the manual's block"
        block = block.replace(shown, real)
    return str(block)


def registry_side() -> dict[str, Any]:
    """Return `http` of the registry's configuration, as the manual has it."""
    (text,) = _YAML.findall(MANUAL.read_text())
    http: dict[str, Any] = yaml.safe_load(text)["http"]
    return http


def nginx_daemon(folder: Path, block: str, machine: Machine | None = None) -> Daemon:
    """Return an nginx, not started yet, that serves a block; on a `machine` if there is one."""
    program = require_tool("nginx")
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(_MAIN.format(user=user, block=block))
    command = [program, "-p", f"{folder}", "-e", "stderr", "-c", f"{config}"]
    command = command if machine is None else machine.inside(*command)
    run([*command, "-t"])
    return Daemon(command, folder / "nginx.log", _SAYS_IT_SERVES)


class Upstream(Protocol):
    """A registry: where nginx connects to it, and its root folder."""

    root: Path

    @property
    def address(self) -> str:
        """Return what stands behind `server` in the block."""


class Nginx(OnLoopback):
    """One nginx before one registry; stopped when the context ends, with its workers.

    With a `certificate`, whose key lies beside it, it speaks TLS, and HTTP/2 if asked. The
    registry is below `prefix`. `changes` are made to the block as well.
    """

    def __init__(
        self,
        folder: Path,
        server: Upstream,
        *,
        certificate: Path | None = None,
        prefix: str = "/",
        changes: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        block = server_block(
            {
                **self._listen(certificate),
                f"server_name {NAME};": f"server_name {NAME} registry 127.0.0.1 localhost;",
                "$host;": "$host:$server_port;",
                "location / {": f"location {prefix} {{",
                "server 127.0.0.1:5000;": f"server {server.address};",
                "alias /var/lib/registry/": f"alias {server.root}/",
                **(changes or {}),
            }
        )
        self._daemon = nginx_daemon(folder, block)

    def _listen(self, certificate: Path | None) -> dict[str, str]:
        """Return what stands in place of the manual's ports and files."""
        redirecting = {"listen 80": f"listen 127.0.0.1:{free_port()}"}
        here = f"listen 127.0.0.1:{self.port}"
        if certificate is None:
            return {
                **redirecting,
                "listen 443 ssl http2": here,
                f"ssl_certificate     {CERTIFICATE};": "",
                f"ssl_certificate_key {KEY};": "",
            }
        key = certificate.with_name("key.pem")
        return {
            **redirecting,
            "listen 443": here,
            CERTIFICATE: f"{certificate}",
            KEY: f"{key}",
        }

    def pids(self) -> list[int]:
        """Return the ids of its processes."""
        parent = psutil.Process(int((self.folder / "nginx.pid").read_text()))
        return [parent.pid, *(child.pid for child in parent.children())]

    def __enter__(self) -> Self:
        self._daemon.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._daemon.stop()
