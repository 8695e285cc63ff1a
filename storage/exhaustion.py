"""The end of a process that has no memory for its own bookkeeping.

An operation that gets no memory fails, and its request is answered. But where the outcome of an
operation cannot be passed on, a request would wait for ever. Then the process ends, and the
supervisor, or what started the server, replaces it. An upload in progress can be resumed.
"""

from __future__ import annotations

import os
from typing import NoReturn

EXIT_CODE = 1

# Made beforehand, because nothing can be allocated later.
_MESSAGE = b"registry-server: out of memory: this process ends\n"


def leave() -> NoReturn:
    """End the process at once, with a message on standard error. Allocates nothing."""
    try:
        os.write(2, _MESSAGE)
    finally:
        os._exit(EXIT_CODE)
