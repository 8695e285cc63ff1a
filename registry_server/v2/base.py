"""`/v2/`: is this a registry, and may I talk to it? (spec, "Determining Support")"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from registry_server.gate import Gate


class BaseEndpoint:
    """Answers `{}`, as registries always have."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def get(self, request: Request) -> Response:
        """GET, HEAD /v2/"""
        await self._gate.base(request)
        return Response(b"{}", media_type="application/json")
