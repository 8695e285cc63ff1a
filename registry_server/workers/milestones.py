"""What a running server tells about itself: that it serves, and that it stops."""

from __future__ import annotations

import signal
from typing import Protocol


class Milestones(Protocol):
    """Called once each, in the process that supervises or that serves alone."""

    def opened(self) -> None:
        """Connections are accepted, in every worker."""

    def stopping(self, received: signal.Signals) -> None:
        """The drain begins, because of this signal."""
