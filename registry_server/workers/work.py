"""What a worker does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from registry_server.workers.pulse import Pulse


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker does with its end of the channel and its pulse, and how long it may drain.

    `serve` sends a byte when it is ready, receives one when it may begin, and drains and returns
    when the channel ends. `drain_seconds` is the time that it gives requests in flight.
    """

    serve: Callable[[socket.socket, Pulse], None]
    drain_seconds: float
