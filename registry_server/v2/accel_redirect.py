"""Lets nginx send blobs from its own disk, with the header `X-Accel-Redirect`.

The registry checks access and membership, and answers with an empty body. nginx replaces the body
by a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from registry_server.http.response import Response
from registry_server.v2 import ranges
from registry_server.v2.responses import range_applies
from storage.interfaces import Blobs
from storage.values.digest import Digest

# nginx serves such a range as this registry does. It does not join several ranges, and refuses some
# that this registry serves.
_ONE_RANGE = re.compile(r"bytes=(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})")

# nginx compares these with the date of the file and answers 412 or 304. This registry ignores them.
_CONDITIONS = ("If-Match", "If-Modified-Since", "If-Unmodified-Since")


@dataclass(frozen=True, slots=True)
class AccelRedirect:
    """Answers requests for blobs with paths below `prefix`, the nginx location of the blobs.

    `prefix` begins and ends with a slash. If it is empty, the registry sends blobs itself.
    """

    prefix: str = ""

    async def answer(
        self, request: Request, blobs: Blobs, digest: Digest, headers: Mapping[str, str]
    ) -> Response | None:
        """Return the response to a GET that nginx completes, or None to send the blob from here.

        It is None if nginx would treat the request differently, or if the blob has no file. Raises
        `BlobUnknown` and `RangeUnsatisfiable`, so the registry itself answers with these errors.
        """
        if not self.prefix or not _is_equivalent(request):
            return None
        file = await blobs.locate(digest)
        if file is None or not file.size:  # nginx refuses any range of an empty file
            return None
        redirect = {**headers, "X-Accel-Redirect": f"{self.prefix}{file.path}"}
        requested = request.headers.get("Range") if range_applies(request, digest) else None
        if not ranges.parse(requested, file.size):
            # nginx keeps this header, and adds its own to a whole file but not to a part.
            redirect.pop("Accept-Ranges", None)
        return Response(headers=redirect, media_type="application/octet-stream")


def _is_equivalent(request: Request) -> bool:
    """Return whether nginx treats the request as this registry does."""
    if any(name in request.headers for name in _CONDITIONS):
        return False
    headers = request.headers.getlist("Range")
    return not headers or (len(headers) == 1 and _ONE_RANGE.fullmatch(headers[0]) is not None)
