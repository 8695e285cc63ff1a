"""Builds the configured access control; `setup` has the table of the settings."""

from __future__ import annotations

from registry_server.access.authenticator import HeaderAuthenticator
from registry_server.access.challenges import BasicChallenges
from registry_server.access.controller import RuledAccess
from registry_server.access.login import Login
from registry_server.access.users import default_user
from registry_server.access.users.htpasswd_file import read_htpasswd
from registry_server.config import Settings
from registry_server.config.in_memory import NO_RULES, lacks_folder
from registry_server.config.problems import Problem
from registry_server.v2.urls import Urls
from registry_server.wiring.access.policy import policy_source
from registry_server.wiring.access.setup import AccessSetup
from registry_server.wiring.access.users import login_limits, users_file, users_of


def assemble(settings: Settings, urls: Urls, *, is_check: bool = False) -> AccessSetup:
    """Do as `setup.assemble_access`, or with `is_check` as `setup.assemble_access_for_check`.

    The settings must configure access control.
    """
    if settings.auth.token is not None:
        from registry_server.wiring.access.foreign_tokens import access_by_foreign_tokens

        return access_by_foreign_tokens(settings, settings.auth.token, urls)
    if settings.access.configured:
        from registry_server.wiring.access.own_tokens import access_by_rules
        from registry_server.wiring.access.signing_key import existing_or_temporary_key, signing_key

        key = existing_or_temporary_key(settings) if is_check else signing_key(settings)
        return access_by_rules(settings, urls, key)
    assert settings.auth.htpasswd is not None
    challenges = BasicChallenges(settings.auth.htpasswd.realm)
    login = Login(users_of(settings), login_limits(settings))
    authenticator = HeaderAuthenticator(login, None, challenges)
    return AccessSetup(RuledAccess(authenticator, policy_source(settings), challenges))


def check(settings: Settings) -> tuple[Problem, ...]:
    """Do as `setup.check`."""
    path = users_file(settings)
    file = None if path is None else read_htpasswd(path)
    _check_others(settings)
    if not settings.access.configured:
        return () if path is None or file is None else file.warnings(path)
    # Imports pydantic and YAML.
    from registry_server.wiring.access.unknown_callers import unknown_callers
    from registry_server.wiring.access.unnamable_users import unnamable

    warnings = () if path is None or file is None else file.warnings(path, unnamable(file))
    return (*warnings, *unknown_callers(settings, () if file is None else file.users))


def check_before_start(settings: Settings) -> tuple[Problem, ...]:
    """Do as `setup.check_before_start`."""
    path = users_file(settings)
    if path is None or path.exists():
        return check(settings)
    default_user.check_folder(path)
    _check_others(settings)
    return (default_user.creation_warning(path),)


def _check_others(settings: Settings) -> None:
    policy_source(settings)
    if settings.auth.token is not None:
        from registry_server.wiring.access.foreign_tokens import verifiers

        verifiers(settings.auth.token)
    elif lacks_folder(settings):
        raise ValueError(f"access {NO_RULES}")
    elif settings.access.configured:
        from registry_server.wiring.access.own_tokens import check_files

        check_files(settings)


def prepare(settings: Settings) -> tuple[Problem, ...]:
    """Do as `setup.prepare`; raise for unusable files before any file is created."""
    check_before_start(settings)
    path = users_file(settings)
    if path is not None:
        default_user.create_if_missing(path)
    warnings = check(settings)
    if settings.gives_tokens:
        from registry_server.wiring.access.signing_key import signing_key

        signing_key(settings)
    return warnings
