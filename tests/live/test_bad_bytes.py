"""Any bytes in a request line or a header: an answer below 500 or the end, over a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.live.sockets import Connection
from tests.support.servers import RegistryServer
from tests.v2.layout import strangers

pytestmark = pytest.mark.live

fuzzed = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS"])
escapes = st.sampled_from([b"%00", b"%2e%2e", b"%2f", b"%", b"%zz", b"%c3%a9", b"%ff", b"%0d%0a",
                           b"..", b"/", b"//", b"?", b"#", b";", b"\\", b"%252e"])  # fmt: skip
words = st.sampled_from([b"v2", b"app", b"blobs", b"uploads", b"manifests", b"tags/list", b"v1",
                         b"sha256:" + b"0" * 64, b"x" * 3000])  # fmt: skip
raw = st.binary(max_size=20)
targets = st.lists(st.one_of(words, escapes, raw), max_size=8).map(
    lambda parts: b"/v2/" + b"/".join(parts)
)
headers = st.lists(
    st.tuples(st.sampled_from([b"Range", b"Accept", b"Content-Range", b"Host", b"If-Range"]), raw),
    max_size=4,
)


@pytest.fixture
def beside(shared: RegistryServer) -> set[Path]:
    """Give what lies beside the root before the test."""
    return set(shared.folder.rglob("*")) - set(shared.root.rglob("*"))


@given(method=methods | raw, target=targets | raw, fields=headers)
@example(method=b"GET", target=b"/v2/\xff\xfe/tags/list", fields=[])
@example(method=b"POST", target=b"/v2/%2e%2e/%2e%2e/evil/blobs/uploads/", fields=[])
@example(method=b"POST", target=b"/v2/../../evil/blobs/uploads/", fields=[])
@fuzzed
def test_any_bytes_have_an_answer(
    shared: RegistryServer,
    beside: set[Path],
    method: bytes,
    target: bytes,
    fields: list[tuple[bytes, bytes]],
) -> None:
    """Below 500, or nothing when it was not a request; the disk shows no trace of it."""
    lines = [method + b" " + target + b" HTTP/1.1", b"Connection: close", b"Content-Length: 0"]
    lines += [name + b": " + value for name, value in fields]
    with Connection.to(shared.port) as connection:
        connection.send(b"\r\n".join([*lines, b"", b""]))
        answer = connection.answer(method.decode("latin-1"))
    assert 200 <= answer.status < 500
    assert strangers(shared.root) == []
    assert set(shared.folder.rglob("*")) - set(shared.root.rglob("*")) == beside


def test_the_log_has_no_traceback(shared: RegistryServer) -> None:
    """None of it was a failure that only the log knows."""
    assert "Traceback" not in shared.log
