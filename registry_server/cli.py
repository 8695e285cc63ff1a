"""The entry point of the program: a command, or the server.

Exit codes: 0 done; 1 failed while running; 2 the command line or the configuration is invalid, with
one line for each problem and never a traceback; 3 interrupted by SIGINT or SIGTERM.

For `serve`, a child process reads the command line and the configuration. It imports Typer,
pydantic and YAML: 13 MiB that this process and its workers would otherwise keep.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
from contextlib import suppress

from registry_server import logs
from registry_server.commands.exit_codes import FAILED, INTERRUPTED, UNUSABLE
from registry_server.commands.invocation import Invocation
from registry_server.serving.workers.forked_call import ForkedCall, ForkedCallFailed
from registry_server.serving.workers.signals import ENDING

logger = logging.getLogger(__name__)

_SERVE = "serve"
_STDERR = 2


def main() -> None:
    """Run the command of the command line and end the program."""
    _open_standard_descriptors()
    try:
        _serve(_invocation_from_child() if sys.argv[1:2] == [_SERVE] else _invocation())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _open_standard_descriptors() -> None:
    """Open /dev/null for each closed standard stream.

    Otherwise the next open file gets its descriptor, and output could be written into a blob.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)


def _invocation() -> Invocation:
    """Run a command and end the program; only `serve` returns, as in `-- serve`."""
    from registry_server.commands import command_line

    return command_line.run(command_line.complete(), sys.argv[1:])


def _invocation_of_server() -> Invocation:
    from registry_server.commands import command_line

    return command_line.run(command_line.serving(), sys.argv[1:])


def _invocation_from_child() -> Invocation:
    """Return the invocation read by a child process; end the program if the child ends it."""
    logs.adopt_interpreter()
    # The kernel ignores a signal to the first process of a container that has no handler for it.
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        child = ForkedCall(_invocation_of_server)
    except OSError as error:
        sys.exit(f"registry-server: a child process cannot be started: {error.strerror}")
    try:
        _import_server()  # while the child reads
        return child.result()
    except ForkedCallFailed as error:
        if error.code == -signal.SIGPIPE:  # the help went to a closed pipe
            sys.exit(128 + signal.SIGPIPE)
        sys.exit(f"registry-server: the configuration could not be read: {error}")


def _import_server() -> None:
    # Imports create no garbage, so running the collector would only take time.
    gc.disable()
    importlib.import_module("registry_server.wiring.server")
    gc.enable()


def _serve(invocation: Invocation) -> None:
    """Serve until a signal; end the program when the server can't start or fails."""
    from registry_server.serving.startup_error import StartupError
    from registry_server.serving.workers.supervisor import WorkersFailed
    from registry_server.wiring import server

    loaded = invocation.loaded
    logs.configure(loaded.settings.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    # A write to a closed connection must not end the server.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        server.serve(loaded, invocation.load)
    except StartupError as error:
        _fail(str(error), UNUSABLE)
    except WorkersFailed as error:
        _fail(str(error), FAILED)


def _fail(reason: str, code: int) -> None:
    logger.critical(reason)
    sys.exit(code)
