"""The policy in force: the rules of `access`, or without rules everything for every user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from registry_server.access.any_user_policy import AnyUserPolicy
from registry_server.access.interfaces import Policy, PolicySource
from registry_server.config import Settings
from registry_server.files.watched_file import WatchedFile


def policy_source(settings: Settings) -> PolicySource:
    """Return the source of the policy; a file of rules is read and watched.

    Raises OSError or ValueError for an unusable file.
    """
    access = settings.access
    if not access.configured:
        return _same(AnyUserPolicy())
    # Imports pydantic and YAML.
    from registry_server.access.rules import parse_rules, policy_of

    if access.file is not None:
        parse = partial(parse_rules, users_in_file=settings.users_in_file)
        return _watched(access.file, parse).now
    return _same(policy_of(access))


def _watched(path: Path, parse: Callable[[bytes], Policy]) -> WatchedFile[Policy]:
    try:
        return WatchedFile(path, parse)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _same(policy: Policy) -> PolicySource:
    async def same() -> Policy:
        return policy

    return same
