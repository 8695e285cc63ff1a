"""The user of a client certificate, and how the logs name that outcome of authentication."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from registry_server.access.authenticator import HeaderAuthenticator
from registry_server.access.challenges import BasicChallenges
from registry_server.access.login import Login
from registry_server.http.context import context_of
from registry_server.http.extensions import CERTIFICATE_NAME


@pytest.mark.parametrize(
    ("name", "is_accepted", "actor", "outcome"),
    [
        ("ann", True, "ann", "certificate"),
        ("ann", False, "", "none"),
        ("", True, "", "none"),
        ("robot:ci", True, "", "none"),
    ],
)
async def test_a_certificate_names_the_caller(
    name: str, actor: str, outcome: str, *, is_accepted: bool
) -> None:
    """Only where certificates are accepted, and never a robot account."""
    challenges = BasicChallenges("registry")
    authenticator = HeaderAuthenticator(Login(()), None, challenges, certificates=is_accepted)
    scope = {"type": "http", "headers": [], CERTIFICATE_NAME: name}
    assert (await authenticator.actor(HTTPConnection(scope))).name == actor
    assert (context_of(scope).actor, context_of(scope).authentication) == (actor, outcome)
