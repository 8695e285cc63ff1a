"""The policy in force: the rules of `access`, or without rules everything for every user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from registry_server.access.any_user_policy import AnyoneKnown
from registry_server.access.interfaces import Policy, PolicyInForce
from registry_server.config import Settings
from registry_server.files.watched_file import Watched


def policy_in_force(settings: Settings) -> PolicyInForce:
    """Return the source of the policy; a file of rules is read and watched.

    Raises OSError or ValueError for an unusable file.
    """
    access = settings.access
    if not access.configured:
        return _same(AnyoneKnown())
    # Imports pydantic and YAML.
    from registry_server.access.rules import parse_rules, policy_of

    if access.file is not None:
        parse = partial(parse_rules, users_in_file=settings.users_in_file)
        return _watched(access.file, parse).now
    return _same(policy_of(access))


def _watched(path: Path, parse: Callable[[bytes], Policy]) -> Watched[Policy]:
    try:
        return Watched(path, parse)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _same(policy: Policy) -> PolicyInForce:
    async def same() -> Policy:
        return policy

    return same
