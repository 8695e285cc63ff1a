"""`limits`: how much one client, or all together, may ask of each worker."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from registry_server.config.section import Section
from registry_server.config.values import Interval

_MOST = 1_000_000
_MOST_FAILURES = 1000  # each is remembered

Count = Annotated[int, Field(ge=0, le=_MOST)]


class Requests(Section):
    """`limits.requests`: requests a second, `burst` at once; 0 for no limit."""

    perclient: Count = 0
    burst: Count = 100
    total: Count = 0


class Uploads(Section):
    """`limits.uploads`: how many requests may bring bytes of blobs at once; 0 for no limit."""

    perclient: Count = 0
    total: Count = 0


class Logins(Section):
    """`limits.logins`: how many wrong passwords an address may show within `window`."""

    failures: Annotated[int, Field(ge=0, le=_MOST_FAILURES)] = 0
    window: Interval = timedelta(minutes=5)


class Limits(Section):
    """`limits`."""

    requests: Requests = Requests()
    uploads: Uploads = Uploads()
    logins: Logins = Logins()
