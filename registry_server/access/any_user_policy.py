"""The policy without configured rules: every authenticated caller may do everything."""

from __future__ import annotations

from registry_server.access.interfaces import Action, Actor
from registry_server.http.context import Decision
from storage.values.names import RepositoryName

_AUTHENTICATED = Decision(True, "no rules: authenticated callers may do everything")
_NO_ADMINISTRATORS = Decision(False, "no rules: there are no administrators")
_ANONYMOUS = Decision(False, "no rules: anonymous callers may do nothing")


class AnyUserPolicy:
    """Allows callers with a name or a token everything, as distribution's htpasswd does."""

    def decide(self, actor: Actor, action: Action, name: RepositoryName) -> Decision:
        return self.decide_catalog(actor)

    def decide_catalog(self, actor: Actor) -> Decision:
        return _ANONYMOUS if actor.is_anonymous and actor.grants is None else _AUTHENTICATED

    def decide_administration(self, actor: Actor) -> Decision:
        return _NO_ADMINISTRATORS
