"""The error that ends the start of a server."""

from __future__ import annotations


class StartupError(Exception):
    """The registry can't start; the message says why in one line."""
