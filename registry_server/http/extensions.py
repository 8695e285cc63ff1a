"""The keys under which our server extends the ASGI scope; another server leaves them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# In `scope["extensions"]`: a callable that takes nothing and returns an iterator of buffers of the
# body. A buffer is valid until the third one after it is requested. The iterator raises
# ClientDisconnect when the client disconnects early, after it has yielded all that arrived.
BODY_BUFFERS: Final = "registry.http.request.body_buffers"

# For a request whose body has not arrived: a callable that takes how many bytes of it the
# application holds in memory.
REPORT_HELD: Final = "registry.http.request.report_held"

# For a request whose body has not arrived: a callable that sets its `Pace`.
SET_PACE: Final = "registry.http.request.set_pace"

# A callable that takes the request id, which the server then sends with every response to this
# request, also with those that it makes itself. Among the headers of the application the id would
# defeat the cache of response heads.
SET_REQUEST_ID: Final = "registry.http.response.set_request_id"

# For a request with a body: a callable that returns how many bytes of it have arrived.
RECEIVED: Final = "registry.http.request.received"

# The common name of the verified client certificate, "" without one. ASGI's extension for TLS has
# the whole certificate, which no handler needs.
CERTIFICATE_NAME: Final = "registry.certificate_name"


@dataclass(frozen=True, slots=True)
class Pace:
    """At least `least` bytes of a body in every `within` seconds; 0 bytes means no minimum.

    The default is what a modem reaches in its worst minute.
    """

    least: int = 1 << 10
    within: float = 60.0
