"""Checks everything that can keep the registry from serving, before any worker is forked.

Every mistake of an operator (a root that can't be written, a port in use, a certificate that does
not match its key) is a `StartupError` with a message of one line.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from registry_server.audit import open_file
from registry_server.config import LoadedSettings, Settings
from registry_server.config.problems import Place, Problem
from registry_server.config.schema import TRIAL_ROOT
from registry_server.serving import volume
from registry_server.serving.startup_error import StartupError
from registry_server.serving.tls import ssl_context
from registry_server.wiring.access import setup
from storage.drivers.filesystem.file_modes import PUBLIC_FOLDER
from storage.errors import reason_of

logger = logging.getLogger(__name__)

_ONLY_PULLS = (
    "so pulls are served, pushes and deletions are refused, and nothing is purged or collected; "
    "once the volume can be written, send SIGHUP or restart"
)


# Checks the files that access control needs, and returns warnings about them.
CheckAccess: TypeAlias = Callable[[Settings], tuple[Problem, ...]]


def check(settings: Settings, access: CheckAccess = setup.check) -> tuple[Problem, ...]:
    """Check everything that `serve` needs except its address; return warnings.

    Raises `StartupError`. Creates nothing: a root that `serve` would create may be missing.
    `access` is `setup.check_before_start` when no server runs yet.
    """
    check_root(settings)
    check_tls(settings)
    warnings = check_access(settings, access)
    check_audit(settings)
    check_answers(settings)
    return warnings


def prepare_root(settings: Settings) -> None:
    """Create the root directory if it may be created, then check it; raise `StartupError`."""
    root = settings.storage.root
    if root is not None and may_be_created(root):
        try:
            root.mkdir(PUBLIC_FOLDER)
        except OSError as error:
            reason = reason_of(error)
            raise StartupError(f"the root directory {root} can't be created: {reason}") from None
        if root != TRIAL_ROOT:
            logger.warning("the root directory %s did not exist and was created, empty", root)
    check_root(settings)


def may_be_created(root: Path) -> bool:
    """Return True if the root directory is missing and its parent exists, so `serve` creates it.

    If the parent is missing too, the path is misspelt or a volume is not mounted, and an empty
    registry would look like a loss of images.
    """
    return root.parent.is_dir() and not os.path.lexists(root)


def check_root(settings: Settings) -> None:
    """Check that the root directory can be used or created; raise `StartupError`."""
    fit_to_volume(LoadedSettings(settings, ()), settings.storage.root)


def check_served(root: Path | None) -> None:
    """Check that the root directory of a running server exists; raise `StartupError`."""
    if root is None:
        return
    try:
        volume.check_folder(root)
    except volume.VolumeUnusable as error:
        raise StartupError(str(error)) from None


def fit_to_volume(loaded: LoadedSettings, root: Path | None) -> LoadedSettings:
    """Enable read-only mode, with a warning that gives the reason, if `root` can't be written.

    Raises `StartupError` if nothing could be served: the root can't be read, or it can't be written
    and holds no registry. `root` is None when the images are in memory.
    """
    if root is None or may_be_created(root):
        return loaded
    is_read_only = loaded.settings.storage.maintenance.readonly.enabled
    reason = _why_read_only(root, is_read_only=is_read_only)
    if reason is None:
        return loaded
    notice = Problem(Place(), "", f"{reason}; {_ONLY_PULLS}")
    return replace(
        loaded,
        settings=_read_only(loaded.settings),
        warnings=(*loaded.warnings, str(notice)),
        notices=(*loaded.notices, notice),
    )


def _why_read_only(root: Path, *, is_read_only: bool) -> str | None:
    """Return why `root` can't be written; None if it can, or if read-only mode is configured."""
    try:
        volume.check_folder(root)
        if is_read_only:
            return None
        reason = volume.why_read_only(root) or volume.probe(root)
        if reason is not None and not volume.holds_registry(root):
            raise StartupError(f"{root} holds no registry, and none can be created: {reason}")
    except volume.VolumeUnusable as error:
        raise StartupError(str(error)) from None
    except OSError as error:
        raise StartupError(f"the root directory {root} can't be used: {reason_of(error)}") from None
    return reason


def _read_only(settings: Settings) -> Settings:
    storage = settings.storage
    readonly = replace(storage.maintenance.readonly, enabled=True)
    maintenance = replace(storage.maintenance, readonly=readonly)
    return replace(settings, storage=replace(storage, maintenance=maintenance))


def check_access(settings: Settings, check: CheckAccess) -> tuple[Problem, ...]:
    """Check the files of users, rules and keys; return warnings; raise `StartupError`."""
    try:
        return check(settings)
    except OSError as error:
        reason = f"{error.filename}: {reason_of(error)}" if error.filename else str(error)
        raise StartupError(f"access control can't be set up: {reason}") from None
    except ValueError as error:
        raise StartupError(f"access control can't be set up: {error}") from None


def check_answers(settings: Settings) -> None:
    """Check that responses can be rendered with these settings; raise `StartupError`."""
    # It imports the whole application, which takes long.
    from registry_server.wiring.response_check import first_failure

    failure = first_failure(settings)
    if failure:
        raise StartupError(failure)


def check_audit(settings: Settings) -> None:
    """Check that the audit log can be written, without creating it; raise `StartupError`.

    If another user than the server's runs `check`, that user would own a file created here.
    """
    path = settings.audit.file
    if not settings.audit.enabled or path is None:
        return
    try:
        _try_to_append(path)
    except OSError as error:
        reason = reason_of(error)
        raise StartupError(f"the audit log {path} can't be written: {reason}") from None


def _try_to_append(path: Path) -> None:
    """Open a file; if it is missing, open an unnamed file in its folder; raise OSError."""
    try:
        os.close(open_file(path, create=False))
    except FileNotFoundError:
        with tempfile.TemporaryFile(dir=Path(os.path.realpath(path)).parent):
            pass


def check_tls(settings: Settings) -> bool:
    """Return True if TLS is configured; raise `StartupError` if its files can't be used."""
    try:
        return ssl_context.context(settings.http.tls) is not None
    except ssl_context.TlsError as error:
        raise StartupError(str(error)) from None


def warnings(settings: Settings) -> tuple[str, ...]:
    """Return warnings about TLS files that can be used but that clients may refuse."""
    return ssl_context.warnings(settings.http.tls)
