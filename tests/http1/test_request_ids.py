"""The server sends the request id also with the responses that it makes itself."""

from __future__ import annotations

import logging

import pytest
from starlette.types import Receive, Scope, Send

from registry_server.http.request_ids import RequestIds
from tests.http1.serving import served

ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_an_unforeseen_exception_is_logged_with_the_id_of_its_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client sees 500 and the id; the log has the traceback beside the same id."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("a bug")

    app = RequestIds(fail)

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    async with served(called) as server:
        client = await server.connect()
        await client.send(ASKED)
        answer = await client.answer()
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert answer.status == 500
    assert vars(record)["request"] == answer.headers["x-request-id"]
    assert record.exc_info is not None
