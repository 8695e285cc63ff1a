"""The real nginx in front of a registry, with the server block that docs/nginx.md shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.support.processes import Daemon, free_port
from tests.support.servers import PROJECT, LiveServer
from tests.support.tools import require_tool, run
from tests.support.wire import Wire

MANUAL = PROJECT / "docs/nginx.md"
_BLOCK = re.compile(r"^```nginx\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAYS_IT_SERVES = b"start worker process "

# Everything that Debian's nginx would put below /var and /run stays in the folder. Workers run as
# whoever runs the tests: nobody else gets into a test's temporary folder. Other sites beside the
# registry may want their answers compressed, whatever they are.
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
    """Return the block of the manual with its names replaced; each must be there once."""
    (block,) = _BLOCK.findall(MANUAL.read_text())
    for shown, real in names.items():
        assert block.count(shown) == 1, f"{shown} is in the manual's block {block.count(shown)}x"
        block = block.replace(shown, real)
    return str(block)


class Nginx:
    """One nginx before one registry; stopped when the context ends, with its workers.

    With a `certificate`, whose key lies beside it, it speaks TLS, and HTTP/2 to who wants it. The
    registry is below `prefix`.
    """

    def __init__(
        self,
        folder: Path,
        server: LiveServer,
        *,
        certificate: Path | None = None,
        prefix: str = "/",
    ) -> None:
        program = require_tool("nginx")
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        block = server_block(
            {
                "listen 80;": self._listen(certificate),
                "location / {": f"location {prefix} {{",
                "server 127.0.0.1:5000;": f"server {server.address};",
                "alias /var/lib/registry/": f"alias {server.root}/",
            }
        )
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(_MAIN.format(user=user, block=block))
        command = [program, "-p", f"{folder}", "-e", "stderr", "-c", f"{config}"]
        run([*command, "-t"])
        self._daemon = Daemon(command, folder / "nginx.log", _SAYS_IT_SERVES)

    def _listen(self, certificate: Path | None) -> str:
        if certificate is None:
            return f"listen 127.0.0.1:{self.port};"
        key = certificate.with_name("key.pem")
        lines = (f"ssl_certificate {certificate};", f"ssl_certificate_key {key};")
        return "\n".join((f"listen 127.0.0.1:{self.port} ssl http2;", *lines))

    @property
    def address(self) -> str:
        """Return host:port, as image references begin."""
        return f"127.0.0.1:{self.port}"

    @property
    def wire(self) -> Wire:
        """Return a raw HTTP client."""
        return Wire("127.0.0.1", self.port)

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
