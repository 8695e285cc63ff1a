"""Reads the access log of a live server, in each of its three forms."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.live.transfers import until
from tests.support.servers import RegistryServer
from tests.support.wire import Answer

_PAIR = re.compile(r'(\S+?)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')


def parsed(line: str) -> dict[str, Any]:
    """Read a line of text or JSON; the values of text are text."""
    if line.startswith("{"):
        return dict(json.loads(line))
    pairs = {}
    at = 0
    while at < len(line):
        pair = _PAIR.match(line, at)
        assert pair is not None, line[at:]
        pairs[pair[1]] = json.loads(pair[2]) if pair[2].startswith('"') else pair[2]
        at = pair.end()
    return pairs


def access_lines(server: RegistryServer) -> list[dict[str, Any]]:
    """Return the lines of the access log; a line that is being written is left out."""
    whole, _, _ = server.log.rpartition("\n")
    lines = [parsed(line) for line in whole.splitlines()]
    return [line for line in lines if "access" in (line.get("msg"), line.get("message"))]


def line_of(server: RegistryServer, answer: Answer) -> dict[str, Any]:
    """Return the one line about an answer, which is written after the client has it."""
    id = answer.header("X-Request-Id")

    def lines() -> list[dict[str, Any]]:
        return [line for line in access_lines(server) if line["request"] == id]

    until(lines, "the line of the request")
    (line,) = lines()
    return line
