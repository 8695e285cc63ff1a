"""Have the proxy in front send a blob: `X-Accel-Redirect`, by the name nginx gave it.

The gate has said yes and the repository has the blob; what is left is moving bytes, and the
answer's empty body is replaced on the way by a file from the proxy's own disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from registry_server.answers import Response
from registry_server.v2 import ranges
from registry_server.v2.responses import range_applies
from storage.digest import Digest
from storage.interfaces import Blobs

# nginx reads such a range as we do. Of several it joins none, and it refuses some that we serve.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")

# nginx holds these against the date of the file, and answers 412 or 304 where we look at none.
_CONDITIONS = ("If-Match", "If-Modified-Since", "If-Unmodified-Since")


@dataclass(frozen=True, slots=True)
class Offload:
    """Answers a request for a blob with its path below `prefix`, where the proxy has the blobs.

    `prefix` begins and ends with a slash; if it is empty, the registry sends blobs itself.
    """

    prefix: str = ""

    async def answer(
        self, request: Request, blobs: Blobs, digest: Digest, headers: Mapping[str, str]
    ) -> Response | None:
        """Answer a GET for the proxy to complete; None when the bytes are ours to send.

        They are where the proxy would answer otherwise than we do, and where there is no file.
        Raises `BlobUnknown`, and `RangeUnsatisfiable`: a refusal is ours in any case.
        """
        if not self.prefix or not _read_alike(request):
            return None
        file = await blobs.place(digest)
        if file is None or not file.size:  # nginx refuses any range of an empty file
            return None
        sent = {**headers, "X-Accel-Redirect": f"{self.prefix}{file.path}"}
        wanted = request.headers.get("Range") if range_applies(request, digest) else None
        if not ranges.parse(wanted, file.size):
            # nginx keeps this one, and adds its own to a whole file, not to a part.
            sent.pop("Accept-Ranges", None)
        return Response(headers=sent, media_type="application/octet-stream")


def _read_alike(request: Request) -> bool:
    """Tell whether nginx gives the request the meaning it has for us."""
    if any(name in request.headers for name in _CONDITIONS):
        return False
    wanted = request.headers.getlist("Range")
    return not wanted or (len(wanted) == 1 and _ONE_RANGE.fullmatch(wanted[0]) is not None)
