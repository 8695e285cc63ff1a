"""The refusal of whoever asks too much (RFC 6585, section 4)."""

from __future__ import annotations

from starlette.types import Send

from registry_server import refusals

STATUS = 429
CODE = "TOOMANYREQUESTS"


class TooManyRequests(Exception):
    """Somebody is over a limit, and may ask again in `retry_after` seconds."""

    def __init__(self, retry_after: int, message: str = "too many requests") -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def refuse(send: Send, problem: TooManyRequests) -> None:
    """Answer a request that no handler sees (spec, "Error Codes", code-14)."""
    more = [(b"retry-after", b"%d" % problem.retry_after)]
    await refusals.refuse(send, STATUS, CODE, str(problem), more)


def whole_seconds(nanoseconds: int) -> int:
    """Round up to what Retry-After can say (RFC 9110, 10.2.3): a second or more."""
    return max(1, -(-nanoseconds // 10**9))
