"""The events of a server's life that are logged: it accepts connections, it stops."""

from __future__ import annotations

import signal
from typing import Protocol


class LifecycleEvents(Protocol):
    """Each method is called once, in the supervisor or in the single process."""

    def opened(self) -> None:
        """Report that every worker accepts connections."""

    def stopping(self, received: signal.Signals) -> None:
        """Report that this signal begins the drain."""
