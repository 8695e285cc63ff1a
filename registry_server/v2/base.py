"""`/v2/`: the API version check (spec, "Determining Support")."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from registry_server.v2.gate import Gate
from registry_server.v2.responses import EncodedResponse, encoded

_BODY = b"{}"
_HEADERS = encoded({"Content-Type": "application/json", "Content-Length": str(len(_BODY))})


class BaseEndpoint:
    """`/v2/`"""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def get(self, request: Request) -> Response:
        """GET, HEAD /v2/"""
        await self._gate.base(request)
        return EncodedResponse(_BODY, _HEADERS)
