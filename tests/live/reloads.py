"""A server whose configuration file a test rewrites, and clients that pull all the while."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.live.transfers import until
from tests.support.servers import RegistryServer

WRITABLE: Mapping[str, object] = {"storage": {"delete": {"enabled": True}}}
READ_ONLY: Mapping[str, object] = {
    "storage": {"delete": {"enabled": True}, "maintenance": {"readonly": {"enabled": True}}}
}


class ReloadedServer(RegistryServer):
    """A server with a configuration that changes while it serves."""

    def __init__(self, folder: Path, settings: Mapping[str, object], workers: int) -> None:
        super().__init__(folder, config=text_of(settings), workers=workers)

    @property
    def config_file(self) -> Path:
        """Where it reads its configuration."""
        return self.folder / f"config-{self.port}.yml"

    def hang_up(self) -> None:
        """Send SIGHUP to the process that was started."""
        os.kill(self.pids()[0], signal.SIGHUP)

    def reload(self, settings: Mapping[str, object]) -> None:
        """Have it go by other settings; return when nothing is done by those before any more."""
        before = self.log.count("began before the reload has ended")
        self.config_file.write_text(text_of(settings))
        self.hang_up()
        until(
            lambda: self.log.count("began before the reload has ended") > before,
            "the reload was through",
        )


def text_of(settings: Mapping[str, object]) -> str:
    """Return a configuration file; JSON is YAML."""
    return json.dumps({"version": "0.1", **settings})


@contextmanager
def pulling(server: RegistryServer, path: str, body: bytes) -> Iterator[list[str]]:
    """Have clients pull one thing over and over; yield what went wrong, which grows.

    Half of them open a connection for each request, the others keep theirs.
    """
    failures: list[str] = []
    ended = threading.Event()

    def pull(*, keeps: bool) -> None:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=20)) as connection:
            while not ended.is_set():
                try:
                    connection.request("GET", path)
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, HTTPException) as error:
                    failures.append(f"{error!r}, keeps: {keeps}")
                    connection.close()
                    continue
                if (answer.status, content) != (200, body):
                    failures.append(f"{answer.status} {content[:200]!r}")
                if not keeps:
                    connection.close()

    clients = [threading.Thread(target=pull, kwargs={"keeps": bool(n % 2)}) for n in range(4)]
    for client in clients:
        client.start()
    try:
        yield failures
    finally:
        ended.set()
        for client in clients:
            client.join()
