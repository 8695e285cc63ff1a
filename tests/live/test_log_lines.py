"""The log of a server from its start to its stop: the words that scripts wait for, one format."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry_server import __version__
from tests.live.programs import run, serving
from tests.live.transfers import until
from tests.support.certificates import certificate
from tests.support.processes import family, free_port
from tests.support.servers import DistributionServer

pytestmark = pytest.mark.live

LISTENING = re.compile(r'level=info msg="(listening on \S+:)\d+(|, tls)"')


def configure(folder: Path, **sections: Any) -> str:
    """Write a configuration of these sections; return its name."""
    (folder / "root").mkdir(exist_ok=True)
    storage = {"filesystem": {"rootdirectory": str(folder / "root")}, "delete": {"enabled": True}}
    (folder / "config.yml").write_text(
        json.dumps({"version": "0.1", "storage": storage, **sections})
    )
    return "config.yml"


def events(text: str) -> list[dict[str, Any]]:
    """Read a log in which every line is JSON; lines of requests are left out."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if "http.request.method" not in line]


class TalkingPeer(DistributionServer):
    """Debian's, which logs that it listens, on an address as it is written in a configuration."""

    addr = ""

    def environment(self) -> Mapping[str, str]:
        """Add to what it has by itself."""
        return {
            **super().environment(),
            "REGISTRY_HTTP_ADDR": f"'{self.addr}'",
            "REGISTRY_LOG_LEVEL": "info",
        }


@pytest.mark.parametrize("workers", [1, 3])
def test_one_line_for_the_start_and_one_for_the_stop(tmp_path: Path, workers: int) -> None:
    """However many workers there are; the first says what is served and by which settings."""
    http = {"addr": "127.0.0.1:0", "workers": workers}
    file = configure(tmp_path, http=http, log={"formatter": "json"})
    with serving([file], tmp_path) as server:
        where = server.where
    start, stop = events(server.said)
    assert start["msg"] == f"listening on {where}"
    facts = {key: start[key] for key in start if key not in ("time", "level", "msg")}
    assert facts == {
        "version": __version__,
        "configuration": file,
        "root": str(tmp_path / "root"),
        "tls": False,
        "access": "open",
        "deletion": True,
        "readonly": False,
        "workers": workers,
    }
    assert stop["msg"] == "stopping after SIGTERM: requests in flight have up to 8s"


@pytest.mark.parametrize("addr", [":{}", "0.0.0.0:{}", "[::]:{}", "127.0.0.1:{}"])
def test_the_words_are_those_of_distribution(tmp_path: Path, addr: str) -> None:
    """The address that the kernel has, which clients of IPv4 and IPv6 reach as they did."""
    port = free_port()
    settings = {"addr": addr.format(port), "workers": 1}
    with serving([configure(tmp_path, http=settings)], tmp_path) as server:
        ours = LISTENING.search(server.said)
        reached = [_is_reached(host, port) for host in ("127.0.0.1", "::1")]
    peer = TalkingPeer(tmp_path / "peer", port=port)
    peer.addr = addr.format(port)
    with peer:
        assert [_is_reached(host, port) for host in ("127.0.0.1", "::1")] == reached
    theirs = LISTENING.search(peer.log)
    assert ours is not None
    assert theirs is not None
    assert ours.groups() == theirs.groups()


def test_tls_is_named_in_the_same_words(tmp_path: Path) -> None:
    """Behind the address, after a comma."""
    tls = {"certificate": str(certificate(tmp_path)), "key": str(tmp_path / "key.pem")}
    file = configure(tmp_path, http={"addr": "127.0.0.1:0", "workers": 1, "tls": tls})
    with serving([file], tmp_path) as server:
        assert f'msg="listening on {server.where}, tls"' in server.said
        assert "tls=true" in server.said


@pytest.mark.parametrize("formatter", ["json", "logstash"])
def test_every_line_of_a_server_that_cannot_start_is_json(tmp_path: Path, formatter: str) -> None:
    """Whether the configuration can't be used, or the machine does not let it serve."""
    message = "message" if formatter == "logstash" else "msg"
    log = {"formatter": formatter}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addr = f"127.0.0.1:{taken.getsockname()[1]}"
        wrong = {addr: f"{addr}: Address already in use", "nonsense": "must be host:port"}
        for value, words in wrong.items():
            file = configure(tmp_path, http={"addr": value}, log=log)
            done = run(["serve", file], tmp_path)
            (line,) = events(done.stderr)
            assert (done.returncode, done.stdout, line["level"]) == (2, "", "fatal")
            assert words in line[message]
    env = {"REGISTRY_LOG_FORMATTER": formatter, "REGISTRY_HTTP_ADDR": "nonsense"}
    (line,) = events(run(["serve"], tmp_path, env).stderr)
    assert "REGISTRY_HTTP_ADDR" in line[message]


def test_what_workers_die_of_is_json(tmp_path: Path) -> None:
    """A worker that is killed, and a reload that can't be used, leave no other line."""
    http = {"addr": "127.0.0.1:0", "workers": 2}
    with serving([configure(tmp_path, http=http, log={"formatter": "json"})], tmp_path) as server:
        supervisor, victim, *_ = family(server.process.pid)
        victim.kill()
        until(lambda: "killed by SIGKILL" in server.said, "it was noticed")
        until(lambda: len(family(supervisor.pid)) == 3, "it was replaced")
        configure(tmp_path, http={"addr": 5}, log={"formatter": "json"}, storrage={})
        os.kill(supervisor.pid, signal.SIGHUP)
        until(lambda: "stays in force" in server.said, "it was read")
    assert {line["level"] for line in events(server.said)} >= {"info", "error"}


def _is_reached(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=20).close()
    except OSError:
        return False
    return True
