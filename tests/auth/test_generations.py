"""The generation of a password, which invalidates refresh tokens when the password changes."""

from __future__ import annotations

from asyncio import to_thread
from pathlib import Path

import bcrypt

from registry_server.access.users.htpasswd import HtpasswdUsers
from registry_server.access.users.htpasswd_file import watch_htpasswd


def _line(name: str, password: str) -> bytes:
    return name.encode() + b":" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)) + b"\n"


async def _users(path: Path, *lines: bytes) -> HtpasswdUsers:
    await to_thread(path.write_bytes, b"".join(lines))
    return HtpasswdUsers(await to_thread(watch_htpasswd, path))


async def test_a_password_has_a_generation_of_its_own(tmp_path: Path) -> None:
    """All processes compute the same; another password has another; an unknown user has none."""
    ann, bob = _line("ann", "hers"), _line("bob", "his")
    users = await _users(tmp_path / "users", ann, bob)
    found = await users.generation("ann")
    assert found is not None
    assert await (await _users(tmp_path / "again", ann)).generation("ann") == found
    assert await users.generation("bob") != found
    changed = await _users(tmp_path / "changed", _line("ann", "another"))
    assert await changed.generation("ann") not in (None, found)
    assert await changed.generation("bob") is None


async def test_a_generation_reveals_nothing_of_the_hash(tmp_path: Path) -> None:
    """Tokens contain it, and clients store them in files."""
    line = _line("ann", "hers")
    found = await (await _users(tmp_path / "users", line)).generation("ann")
    assert found is not None
    assert len(found) == 32
    assert found.encode() not in line
