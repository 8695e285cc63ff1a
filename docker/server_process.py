"""Finds the registry server of this container in /proc.

It imports only modules that Python loads at every start, because the health check runs this file
every 30 seconds.
"""

import os

PROC = "/proc"
NAMES = ("registry-server", "registry")  # the program, by the names it has in the image
SERVE = "serve"


def find_server() -> tuple[int, list[str]] | None:
    """Return the process id and the arguments after `serve` of the first server, None without one.

    Workers have the supervisor's command line and higher process ids.
    """
    for pid in sorted(int(name) for name in os.listdir(PROC) if name.isdecimal()):
        arguments = _arguments_of_server(_command_line(pid))
        if arguments is not None:
            return pid, arguments
    return None


def _command_line(pid: int) -> list[str]:
    try:
        with open(f"{PROC}/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:  # the process has ended, or may not be inspected
        return []
    return [os.fsdecode(word) for word in words[:-1]]


def _arguments_of_server(words: list[str]) -> list[str] | None:
    """Return the arguments after `serve` in `python PROGRAM serve ...`; None if it is another."""
    is_server = len(words) > 2 and os.path.basename(words[1]) in NAMES and words[2] == SERVE
    return words[3:] if is_server else None
