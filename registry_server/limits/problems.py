"""The refusal of whoever asks too much (RFC 6585, section 4)."""

from __future__ import annotations

from starlette.types import Send

from registry_server import envelope

STATUS = 429
CODE = "TOOMANYREQUESTS"


class TooManyRequests(Exception):
    """Somebody is over a limit, and may ask again in `retry_after` seconds."""

    def __init__(self, retry_after: int, message: str = "too many requests") -> None:
        super().__init__(message)
        self.retry_after = retry_after


async def refuse(send: Send, problem: TooManyRequests) -> None:
    """Answer a request that no handler sees (spec, "Error Codes", code-14)."""
    body = envelope.body([envelope.entry(CODE, str(problem))])
    headers = [
        envelope.API_VERSION,
        (b"content-type", envelope.MEDIA_TYPE.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"%d" % problem.retry_after),
    ]
    await send({"type": "http.response.start", "status": STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def whole_seconds(nanoseconds: int) -> int:
    """Round up to what Retry-After can say (RFC 9110, 10.2.3): a second or more."""
    return max(1, -(-nanoseconds // 10**9))
