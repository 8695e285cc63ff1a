"""Limits against floods, password guessing and slow bodies; each worker process counts separately.

    BodyPace ─► Audit ─► RequestLimits ─► UploadLimits ─► Dispatcher ─► Authenticator ─► LoginLimits

A request over a limit gets 429 with Retry-After. A body that is too slow gets 408, and the
connection is closed. `repositories` has the limits of each repository; `storage.repository.quotas`
enforces them.
"""

from registry_server.access.login_limits import LoginLimits
from registry_server.http.too_many_requests import TooManyRequests
from registry_server.limits.bodies import BodyPace
from registry_server.limits.requests import RequestLimits
from registry_server.limits.uploads import UploadLimits

__all__ = ["BodyPace", "LoginLimits", "RequestLimits", "TooManyRequests", "UploadLimits"]
