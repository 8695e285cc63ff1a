"""BuildKit's cache: its requests, byte for byte, to this server and to Debian's docker-registry."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.live.sockets import Connection
from tests.support.build_cache import CACHE_CONFIG, LAYER_TYPES, BuildCache, BuildKitRequests
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.wire import DOCKER_LIST, OCI_INDEX, Answer, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(120)]

SERVERS = (RegistryServer, DistributionServer)
TYPES = (OCI_INDEX, DOCKER_LIST)
REPOSITORY = "team/cache"
# What BuildKit reads of an answer.
HEADERS = ("Docker-Content-Digest", "Content-Length", "Content-Type", "Content-Range")


class BuildKit:
    """One connection, on which requests of one cache reference follow each other."""

    def __init__(self, server: LiveServer) -> None:
        self._connection = Connection.to(server.port)
        self.requests = BuildKitRequests(server.address, REPOSITORY)
        self.seen: list[tuple[str, int, dict[str, str], bytes]] = []

    def ask(self, request: bytes) -> Answer:
        """Send one request; keep what BuildKit would look at of the answer."""
        method = request.split(b" ", 1)[0].decode()
        self._connection.send(request)
        answer = self._connection.answer(method)
        found = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
        if answer.status == 404:  # only the status is read
            found = {}
        body = answer.body if answer.status in (200, 206) else b""
        self.seen.append((method, answer.status, found, body))
        return answer

    def export(self, cache: BuildCache) -> None:
        """Push what is not there yet, and then the index: `remotecache.Finalize`."""
        types = [LAYER_TYPES[cache.media_type]] * len(cache.layers) + [CACHE_CONFIG]
        for media_type, blob in zip(types, cache.blobs, strict=True):
            digest = sha256(blob)
            if self.ask(self.requests.check_blob(media_type, digest)).status == 404:
                location = self.ask(self.requests.start_upload()).header("Location")
                self.ask(self.requests.finish_upload(location, blob))
        present = self.ask(self.requests.check_tag(cache.media_type))
        if present.headers["Docker-Content-Digest"] != sha256(cache.index):
            self.ask(self.requests.put_index(cache.media_type, cache.index))

    def import_(self, cache: BuildCache) -> None:
        """Read the index, the configuration, and the layers: `remotecache.Resolve`."""
        digest = self.ask(self.requests.resolve()).header("Docker-Content-Digest")
        self.ask(self.requests.fetch("manifests", cache.media_type, digest))
        self.ask(self.requests.fetch("blobs", CACHE_CONFIG, sha256(cache.config)))
        layer_type = LAYER_TYPES[cache.media_type]
        for layer in cache.layers:
            self.ask(self.requests.fetch("blobs", layer_type, sha256(layer)))
            self.ask(self.requests.fetch("blobs", layer_type, sha256(layer), offset=7))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def replay(server: LiveServer, media_type: str) -> list[tuple[str, int, dict[str, str], bytes]]:
    """Export a cache, import it, export it unchanged, then with a layer more, and import that."""
    first = BuildCache(media_type)
    more = BuildCache(media_type, layers=(*first.layers, b"a third layer" * 40), records=3)
    with closing(BuildKit(server)) as buildkit:
        for cache in (first, first, more):
            buildkit.export(cache)
            buildkit.import_(cache)
    return buildkit.seen


@pytest.mark.parametrize("media_type", TYPES)
def test_cache_requests_are_answered_as_by_registry_2(tmp_path: Path, media_type: str) -> None:
    """Every answer has the status, the headers that BuildKit reads, and the body of 2.8.2's."""
    answers = []
    for kind in SERVERS:
        with kind(tmp_path / kind.__name__) as server:
            answers.append(replay(server, media_type))
    ours, peers = answers
    assert ours == peers
    assert {status for _, status, _, _ in ours} == {200, 201, 202, 206, 404}


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize(("first", "second"), [SERVERS, SERVERS[::-1]])
def test_a_cache_moves_with_the_volume(
    tmp_path: Path, media_type: str, first: type[LiveServer], second: type[LiveServer]
) -> None:
    """What one server took, the other serves, and takes once more without an upload."""
    cache, root = BuildCache(media_type), tmp_path / "root"
    with first(tmp_path / "first", root) as server, closing(BuildKit(server)) as buildkit:
        buildkit.export(cache)
        buildkit.import_(cache)
        imported = buildkit.seen[-7:]
    with second(tmp_path / "second", root) as server, closing(BuildKit(server)) as buildkit:
        buildkit.import_(cache)
        assert buildkit.seen == imported
        buildkit.export(cache)
        assert all(method == "HEAD" for method, *_ in buildkit.seen[7:])
