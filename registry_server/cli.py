"""The program: it runs a command, or serves.

Exit codes: 0 done; 1 something went wrong while running; 2 the call or the configuration can't
be used, said in one line each and never as a traceback; 3 interrupted by SIGINT or SIGTERM.

The command line and the configuration of a server are read in a child process. What that imports
(Typer, pydantic, YAML) takes 13 MiB, which this process and its workers would keep.
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
from registry_server.workers.child import Child, ChildFailed

logger = logging.getLogger(__name__)

_SERVE = "serve"
_STDERR = 2


def main() -> None:
    """Run the command line."""
    _open_standard_descriptors()
    if sys.argv[1:2] != [_SERVE]:
        _serve(_invocation())
        return
    logs.adopt_interpreter()
    try:
        _serve(_invocation_from_child())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _open_standard_descriptors() -> None:
    """Open /dev/null in place of a standard stream that is closed.

    Otherwise the next file gets its number: what is printed would go into a blob.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)


def _invocation() -> Invocation:
    """Run a command; return what `serve` is to do, and end the program after any other command."""
    from registry_server.commands import line

    app = line.serving() if sys.argv[1:2] == [_SERVE] else line.complete()
    return line.run(app, sys.argv[1:])


def _invocation_from_child() -> Invocation:
    try:
        child = Child(_invocation)
    except OSError as error:
        sys.exit(f"registry-server: no process can be started: {error.strerror}")
    try:
        _import_server()  # meanwhile
        return child.result()
    except ChildFailed as error:
        if error.code == -signal.SIGPIPE:  # a reader such as `head` has seen enough of the help
            sys.exit(128 + signal.SIGPIPE)
        sys.exit(f"registry-server: the configuration could not be read: {error}")


def _import_server() -> None:
    # Of what is imported nothing is garbage; the server sees to the collector before it serves.
    gc.disable()
    importlib.import_module("registry_server.server")
    gc.enable()


def _serve(invocation: Invocation) -> None:
    """Serve until a signal ends it; end the program when that can't begin."""
    from registry_server import server, startup
    from registry_server.workers.supervisor import WorkersFailed

    loaded = invocation.loaded
    logs.adopt_interpreter()
    logs.configure(loaded.settings.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    # A write to a closed connection must not end the server.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        server.serve(loaded.settings, loaded.file, invocation.load)
    except startup.StartupError as error:
        _fail(str(error), UNUSABLE)
    except WorkersFailed as error:
        _fail(str(error), FAILED)


def _fail(reason: str, code: int) -> None:
    logger.critical(reason)
    sys.exit(code)
