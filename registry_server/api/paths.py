"""The paths of the management API."""

from __future__ import annotations

from typing import Final

ABOVE: Final = "/api/"
ROOT: Final = "/api/v1"
ROBOTS: Final = "/robots"
OPENAPI: Final = "/openapi.json"
