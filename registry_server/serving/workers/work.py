"""The function that a worker runs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from registry_server.serving.workers.pulse import Pulse


@dataclass(frozen=True, slots=True)
class Work:
    """A worker's function and its drain timeout.

    `serve` gets the worker's end of the channel and its pulse. It sends a byte when it is ready,
    receives a byte when it may accept connections, and drains and returns when the channel ends.
    `drain_seconds` is the time limit for requests in flight.
    """

    serve: Callable[[socket.socket, Pulse], None]
    drain_seconds: float
