"""Limits against floods, guessing and dawdling; each worker process counts for itself.

    BodyPace ─► Audit ─► RequestLimits ─► UploadLimits ─► Dispatcher ─► Authenticator ─► LoginLimits

Who is over one is told so with 429, and when to ask again; whose body drips, with 408 and the end
of the connection. `repositories` says what a repository may hold; `storage.quotas` keeps to it.
"""

from registry_server.limits.bodies import BodyPace
from registry_server.limits.logins import LoginLimits
from registry_server.limits.problems import TooManyRequests
from registry_server.limits.requests import RequestLimits
from registry_server.limits.uploads import UploadLimits

__all__ = ["BodyPace", "LoginLimits", "RequestLimits", "TooManyRequests", "UploadLimits"]
