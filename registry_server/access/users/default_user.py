"""Creates an htpasswd file that is configured but missing, with one user.

CNCF distribution does the same, and installers rely on it: they start the registry and read the
password from its log. No other secret is ever logged, and this one is logged once.
"""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

import bcrypt

from registry_server.access.users.htpasswd import DEFAULT_COST
from registry_server.config.problems import Place, Problem
from registry_server.files.atomic_file import edit_file

NAME = "docker"

logger = logging.getLogger(__name__)


def create_if_missing(path: Path) -> None:
    """Create the file with one user and a random password, unless it exists (blocks).

    Only the owner of the folder can read the new file. Raises OSError, and ValueError if the
    folder is missing: the path is misspelt, or a volume is not mounted.
    """
    if path.exists():
        return
    check_folder(path)
    password = secrets.token_urlsafe()
    hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(DEFAULT_COST))
    was_created = False

    def write(content: bytes) -> bytes | None:
        nonlocal was_created
        was_created = not content  # otherwise another process created it first
        return f"{NAME}:".encode() + hash + b"\n" if was_created else None

    # Follow a symbolic link and create its target.
    edit_file(Path(os.path.realpath(path)), write)
    if was_created:
        _log_password(path, password)


def _log_password(path: Path, password: str) -> None:
    # With `log.level: error` a warning would be lost, and the password with it.
    level = logging.WARNING if logger.isEnabledFor(logging.WARNING) else logging.ERROR
    message = "the htpasswd file %s did not exist and was created: the password of its user follows"
    logger.log(level, message, path, extra={"user": NAME, "password": password})


def check_folder(path: Path) -> None:
    """Raise ValueError unless the folder of a missing file exists."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise ValueError(
            f"the htpasswd file {path} does not exist, and neither does the folder {folder}: "
            "create the folder or mount it"
        )


def creation_warning(path: Path) -> Problem:
    """Return the warning of `check` about a file that `serve` would create."""
    text = (
        f"does not exist: serve creates it with the user {NAME} and a random password, "
        "and logs the password once"
    )
    return Problem(Place(str(path)), "", text)
