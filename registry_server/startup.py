"""What can keep the registry from serving, found out before any worker exists.

Whatever an operator can get wrong (a root that can't be written, a port in use, a certificate
that does not fit) is a `StartupError` with one clear line.
"""

from __future__ import annotations

import tempfile

from registry_server import tls
from registry_server.config import Settings
from registry_server.config.load import TRIAL_ROOT


class StartupError(Exception):
    """The registry can't start; the message says why in one line."""


def check(settings: Settings) -> None:
    """Find what would keep `serve` from starting, but for its address; raise `StartupError`."""
    prepare_root(settings)
    check_tls(settings)


def prepare_root(settings: Settings) -> None:
    """Make sure that the root folder is there and can be written; raise `StartupError`.

    Only TRIAL_ROOT is made. Any other root that is missing is a typing error or a volume that was
    not mounted, and an empty registry in its place would look like a loss.
    """
    root = settings.storage.filesystem.rootdirectory
    try:
        if root == TRIAL_ROOT:
            root.mkdir(exist_ok=True)
        if not root.is_dir():
            raise StartupError(f"the root directory {root} does not exist; create it or mount it")
        if not settings.storage.maintenance.readonly.enabled:
            with tempfile.TemporaryFile(dir=root):
                pass
    except OSError as error:
        raise StartupError(f"the root directory {root} can't be used: {error.strerror}") from None


def check_tls(settings: Settings) -> bool:
    """Tell whether TLS is to be spoken; raise `StartupError` if it is and can't be."""
    try:
        return tls.context(settings.http.tls) is not None
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise StartupError(f"the TLS certificate can't be used: {reason}") from None
