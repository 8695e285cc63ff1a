"""The API conforms to its OpenAPI document, whatever is sent to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.api.managed import AS_ANN, AS_BOB, managed
from tests.support.servers import RegistryServer

pytestmark = pytest.mark.live

DESCRIBED = "/api/v1/openapi.json"
OPERATIONS = (
    ("/robots", "GET"),
    ("/robots", "POST"),
    ("/robots/{name}", "GET"),
    ("/robots/{name}", "DELETE"),
)
# Values that the schema allows may be refused: it can't require a duration of at least a second.
CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
)
PATIENT = settings(
    max_examples=25,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Serve one registry for all tests of the module."""
    folder = tmp_path_factory.mktemp("described")
    with RegistryServer(folder, config=json.dumps(managed(folder)), workers=1) as serving:
        yield serving


def document(server: RegistryServer) -> dict[str, Any]:
    """Return the OpenAPI document, as a user who is no administrator."""
    answer = server.wire.expect(200, "GET", DESCRIBED, headers=AS_BOB)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def test_all_operations_are_tried(server: RegistryServer) -> None:
    """A new one must be added to the table above; the document does not describe itself."""
    paths = document(server)["paths"].items()
    described = {(path, method.upper()) for path, each in paths for method in each}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_responses_are_as_described(
    server: RegistryServer, path: str, method: str, mode: GenerationMode
) -> None:
    """No failure, no undocumented status, no body of another form."""
    load_all_checks()
    checks = CHECKS.get_by_names(list(CHECKED))
    operation = schemathesis.openapi.from_dict(document(server))[path][method]
    seen: Counter[int] = Counter()

    @PATIENT
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        base = f"{server.url}/api/v1"
        answer = case.call(base_url=base, headers=AS_ANN)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=checks, headers=AS_ANN)

    holds()
    assert seen
    if (path, method, mode) == ("/robots", "POST", GenerationMode.POSITIVE):
        assert seen[201], seen


def test_the_document_loads_nothing_from_elsewhere(server: RegistryServer) -> None:
    """It is data without a page or a script, and names the URL it is served under."""
    answer = server.wire.expect(200, "GET", DESCRIBED, headers=AS_BOB)
    assert answer.header("Content-Type") == "application/json"
    assert json.loads(answer.body)["servers"] == [{"url": "/api/v1"}]
    assert b"://" not in answer.body
