"""curl, as people type it, with its answer taken apart."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

from tests.support.tools import require_tool


@dataclass(frozen=True, slots=True)
class CurlAnswer:
    """What `curl -i` printed: status, headers and body."""

    status: int
    headers: Message
    body: bytes


def curl(*arguments: str, body: bytes = b"") -> CurlAnswer:
    """Run `curl -i ARGUMENTS`; `body` is on its standard input, for `--data-binary @-`."""
    command = [require_tool("curl"), "-sS", "-i", "--max-time", "30", *arguments]
    done = subprocess.run(command, input=body, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
    return _parse(done.stdout)


def _parse(printed: bytes) -> CurlAnswer:
    head, _, rest = printed.partition(b"\r\n\r\n")
    status_line, _, headers = head.partition(b"\r\n")
    status = int(status_line.split()[1])
    if status == 100:
        return _parse(rest)
    return CurlAnswer(status, message_from_bytes(headers + b"\r\n\r\n"), rest)
