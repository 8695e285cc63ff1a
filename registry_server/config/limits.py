"""`limits`: how much one client, or all together, may ask of each worker."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from registry_server.config.bytes import ByteSize
from registry_server.config.section import Section
from registry_server.config.values import Grace, Interval

_MOST = 1_000_000
_MOST_FAILURES = 1000  # each is remembered
_FASTEST = 1 << 20  # more than that is no limit for the slowest
# A manifest of less than that may well be an honest one; of more than that each costs much.
_SMALLEST_MANIFEST, _LARGEST_MANIFEST = 64 << 10, 16 << 20

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


class Bodies(Section):
    """`limits.bodies`: how slowly a body may come; `least` 0 for as slowly as it likes."""

    least: Annotated[ByteSize, Field(ge=0, le=_FASTEST)] = 1 << 10
    within: Grace = timedelta(seconds=60)


class Manifests(Section):
    """`limits.manifests`: how large a pushed manifest may be, and to how much it may refer."""

    size: Annotated[ByteSize, Field(ge=_SMALLEST_MANIFEST, le=_LARGEST_MANIFEST)] = 4 << 20
    references: Count = 10_000


class Limits(Section):
    """`limits`."""

    requests: Requests = Requests()
    uploads: Uploads = Uploads()
    logins: Logins = Logins()
    bodies: Bodies = Bodies()
    manifests: Manifests = Manifests()
