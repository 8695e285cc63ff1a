"""The refusal of requests over a limit (RFC 6585, section 4)."""

from __future__ import annotations

from starlette.types import Scope, Send

from registry_server.http import refusals
from registry_server.http.refusals import Refusal

STATUS = 429
CODE = "TOOMANYREQUESTS"


class TooManyRequests(Refusal):
    """The caller is over a limit, and may retry after `retry_after` seconds."""

    status = STATUS
    code = CODE

    def __init__(self, retry_after: int, message: str = "too many requests") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.headers = {"Retry-After": str(retry_after)}


async def refuse(scope: Scope, send: Send, problem: TooManyRequests) -> None:
    """Send the refusal of a request that reaches no handler (spec, "Error Codes", code-14)."""
    more = [(b"retry-after", b"%d" % problem.retry_after)]
    await refusals.refuse(scope, send, STATUS, CODE, str(problem), more)


def whole_seconds(nanoseconds: int) -> int:
    """Return nanoseconds as a value for Retry-After (RFC 9110, 10.2.3), at least 1."""
    return max(1, -(-nanoseconds // 10**9))
