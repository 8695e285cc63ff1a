"""Checks a response thoroughly once, before the same request is repeated thousands of times."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.client import NO_HEADERS, TIMEOUT_SECONDS
from benchmarks.errors import expect


@dataclass(frozen=True, slots=True)
class Checked:
    """A complete response, decoded by the standard library's client."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def fetch(
    port: int, target: str, headers: Mapping[str, str] = NO_HEADERS, method: str = "GET"
) -> Checked:
    """Send one request on a new connection; header names are returned in lower case."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, target, headers=dict(headers))
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return Checked(answer.status, fields, answer.read())
    finally:
        connection.close()


def fetch_ok(
    port: int, target: str, headers: Mapping[str, str] = NO_HEADERS, method: str = "GET"
) -> Checked:
    """Like `fetch`, but raise `WrongAnswer` for any status except 200."""
    answer = fetch(port, target, headers, method)
    expect(answer.status == 200, f"{method} {target} answered {answer.status} instead of 200")
    return answer


def expect_content(answer: Checked, digest: str, length: int) -> None:
    """Check the Docker-Content-Digest and Content-Length of a manifest or blob response."""
    announced = answer.headers.get("docker-content-digest")
    expect(announced == digest, f"Docker-Content-Digest is {announced} instead of {digest}")
    size = answer.headers.get("content-length")
    expect(size == str(length), f"Content-Length is {size} instead of {length}")
