"""The moments of a server's life that are announced: it serves, it stops."""

from __future__ import annotations

import signal
from typing import Protocol


class Milestones(Protocol):
    """Each method is called once, in the supervisor or in the process that serves alone."""

    def opened(self) -> None:
        """Every worker accepts connections."""

    def stopping(self, received: signal.Signals) -> None:
        """The drain begins because of this signal."""
