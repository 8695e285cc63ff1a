"""The policy where no rules are configured: who is known may do everything."""

from __future__ import annotations

from registry_server.auth.access import Action, Actor, Decision
from storage.names import RepositoryName

_KNOWN = Decision(True, "no rules: whoever is known may do everything")
_NO_ADMINISTRATORS = Decision(False, "no rules: nobody is an administrator")
_UNKNOWN = Decision(False, "no rules: whoever is not known may do nothing")


class AnyoneKnown:
    """As with distribution's htpasswd. A token vouches for its bearer, whoever that is."""

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        """Allow whoever is known."""
        return self.decide_catalog(actor)

    def decide_catalog(self, actor: Actor) -> Decision:
        """Allow whoever is known."""
        return _UNKNOWN if actor.is_anonymous and actor.grants is None else _KNOWN

    def decide_administration(self, actor: Actor) -> Decision:
        """Allow nobody: only rules name administrators."""
        return _NO_ADMINISTRATORS
