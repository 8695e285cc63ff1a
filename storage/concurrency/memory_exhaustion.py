"""Ends a process that has no memory left for its own bookkeeping.

An operation that gets no memory fails, and its request is answered. But if the result of an
operation cannot be delivered, its request would hang. So the process exits, and the supervisor, or
the service manager, starts a new one. Clients can resume uploads.
"""

from __future__ import annotations

import os
from typing import NoReturn

EXIT_CODE = 1

# Allocated in advance, because it may be impossible later.
_MESSAGE = b"registry-server: out of memory: this process ends\n"


def exit_process() -> NoReturn:
    """End the process immediately with a message on standard error. Allocates no memory."""
    try:
        os.write(2, _MESSAGE)
    finally:
        os._exit(EXIT_CODE)
