"""Limits against floods and guessing; each worker process counts for itself.

    Audit ─► RequestLimits ─► UploadLimits ─► Dispatcher ─► Authenticator ─► LoginLimits

Who is over one is told so with 429, and when to ask again.
"""

from registry_server.limits.logins import LoginLimits
from registry_server.limits.problems import TooManyRequests
from registry_server.limits.requests import RequestLimits
from registry_server.limits.uploads import UploadLimits

__all__ = ["LoginLimits", "RequestLimits", "TooManyRequests", "UploadLimits"]
