"""The end of a process that has no memory for its own bookkeeping.

An operation that gets no memory fails, and its request is answered. But if the outcome of an
operation cannot be passed on, its request waits for ever. So the process ends, and its supervisor,
or what started the server, replaces it. An upload in progress can be resumed.
"""

from __future__ import annotations

import os
from typing import NoReturn

EXIT_CODE = 1

# Allocated beforehand, because it may be impossible later.
_MESSAGE = b"registry-server: out of memory: this process ends\n"


def leave() -> NoReturn:
    """End the process immediately, with a message on standard error. Allocates nothing."""
    try:
        os.write(2, _MESSAGE)
    finally:
        os._exit(EXIT_CODE)
