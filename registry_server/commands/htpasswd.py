"""`registry-server htpasswd`: set the password of a user, or remove the user.

Exit codes: 0 done; 1 the user to remove does not exist, or the file could not be written; 2 the
name or the password is invalid. Warnings name other lines of the file that the registry skips.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from registry_server.commands.common import fail
from registry_server.commands.exit_codes import FAILED
from registry_server.config.problems import Problem

# Bytes of a line on standard input; no accepted password is longer.
_LONGEST_LINE = 1024


def htpasswd(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="htpasswd file (bcrypt).")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="User name.")],
    cost: Annotated[
        int, typer.Option(min=4, max=17, help="bcrypt cost; each increment doubles the login time.")
    ] = 12,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the user.")] = False,
) -> None:
    """Set a user's password in FILE, created if missing. Safe while the server runs.

    Prompts for the password, or reads one line if standard input is not a terminal.
    """
    _check_name(name)
    line = None if delete else f"{name}:".encode() + _hash(_password(), cost)
    # The target of a symbolic link, so that the link is kept.
    path = Path(os.path.realpath(file))
    try:
        was_there = _edit(path, name, line)
        warnings = _warnings(path)
    except OSError as error:
        fail(f"{file} can't be written: {error.strerror or error}", FAILED)
    if delete and not was_there:
        fail(f"{file} has no user {name}", FAILED)
    for warning in warnings:
        typer.echo(f"registry-server: warning: {warning}", err=True)


def replaced(content: bytes, name: str, line: bytes | None) -> tuple[bytes, bool]:
    """Replace the entries for `name` by `line`, or remove them; return whether there was one.

    Other lines are unchanged.
    """
    kept: list[bytes] = []
    was_there = False
    for old in content.split(b"\n"):
        if not _is_of(old, name):
            kept.append(old)
        elif not was_there:
            was_there = True
            kept += [] if line is None else [line]
    if line is not None and not was_there:
        # The last element is empty, or a line without a newline.
        kept[-1:] = [line, b""] if not kept[-1] else [kept[-1], line, b""]
    return b"\n".join(kept), was_there


def _is_of(line: bytes, name: str) -> bool:
    entry, colon, _ = line.strip().partition(b":")
    return bool(colon) and not entry.startswith(b"#") and entry == name.encode()


def _edit(path: Path, name: str, line: bytes | None) -> bool:
    """Edit the file; return whether it had an entry for the name."""
    from registry_server.files.atomic_file import edit_file

    was_there = False

    def edit(content: bytes) -> bytes | None:
        nonlocal was_there
        changed, was_there = replaced(content, name, line)
        return changed if was_there or line is not None else None

    edit_file(path, edit)
    return was_there


def _warnings(path: Path) -> tuple[Problem, ...]:
    """Return the problems of the file's lines."""
    from registry_server.access.users.htpasswd_file import parse_htpasswd

    return parse_htpasswd(path.read_bytes() if path.exists() else b"").warnings(path)


def _check_name(name: str) -> None:
    from registry_server.access.users.basic import has_controls

    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        fail("the user name is not UTF-8")
    if not name or ":" in name or has_controls(name):
        fail("the user name must not be empty, or contain a colon or control characters")
    if name != name.strip() or name.startswith("#"):
        fail("the user name must not begin or end with a space, or begin with #")


def _password() -> str:
    """Prompt for the password on a terminal, or read a line."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    line = sys.stdin.buffer.readline(_LONGEST_LINE)
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        fail("the password is not UTF-8")


def _hash(password: str, cost: int) -> bytes:
    import bcrypt

    from registry_server.access.users.htpasswd import LONGEST_PASSWORD

    if not password:
        fail("the password is empty")
    if "\0" in password:
        fail("the password contains a NUL character, which clients cannot send")
    try:
        shown = password.encode("utf-8")
    except UnicodeEncodeError:
        fail("the password is not UTF-8")
    if len(shown) > LONGEST_PASSWORD:
        fail(f"the password is longer than {LONGEST_PASSWORD} bytes; bcrypt ignores the rest")
    return bcrypt.hashpw(shown, bcrypt.gensalt(cost))
