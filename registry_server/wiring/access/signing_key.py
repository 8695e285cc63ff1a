"""The key that signs this registry's own tokens."""

from __future__ import annotations

import os
from pathlib import Path

from registry_server.access.tokens.signing_keys import (
    SigningKey,
    load_or_create_signing_key,
    load_signing_key,
    temporary_signing_key,
)
from registry_server.config import Settings
from storage.errors import reason_of
from storage.values.paths import ACCESS

_KEY = "token-key.pem"


def signing_key(settings: Settings) -> SigningKey:
    """Return the key in `access.tokens.key`, or the registry's own key in the root directory.

    The registry's own key is created if it is missing. Raises OSError or ValueError for a key that
    can't be read, used or created.
    """
    if settings.access.tokens.key is not None:
        return load_signing_key(settings.access.tokens.key)
    path = _own_key(settings)
    if path.exists():
        return load_signing_key(path)
    try:
        if not path.parent.is_dir():
            os.makedirs(path.parent, mode=0o700, exist_ok=True)
        return load_or_create_signing_key(path)
    except OSError as error:
        raise _no_key(path, reason_of(error)) from None


def existing_or_temporary_key(settings: Settings) -> SigningKey:
    """Return the existing key or a temporary one; raise as `existing_key` does."""
    return existing_key(settings) or temporary_signing_key()


def existing_key(settings: Settings) -> SigningKey | None:
    """Return the key, or None if the registry's own key does not exist yet.

    Raises OSError or ValueError for a key that is unusable, or is missing and can't be created.
    """
    configured = settings.access.tokens.key
    if configured is not None:
        return load_signing_key(configured)
    try:
        return load_signing_key(_own_key(settings))
    except FileNotFoundError:
        root = settings.storage.filesystem.rootdirectory
        if root.exists() and not os.access(root, os.W_OK):
            raise _no_key(_own_key(settings), "the volume is not writable") from None
        return None


def _own_key(settings: Settings) -> Path:
    return settings.storage.filesystem.rootdirectory / ACCESS / _KEY


def _no_key(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"rules need a key that signs tokens; {path} does not exist and can't be created "
        f"({reason}): name the file of a key in access.tokens.key"
    )
