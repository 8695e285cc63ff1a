"""The real nginx in front, with the server block of docs/nginx.md: with offload and without.

Two registries serve one folder, each behind an nginx of its own; the one offloads. Whatever is
asked, both give the same answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.sockets import Connection, head_of
from tests.live.transfers import arrived, open_files, until
from tests.support.containers import ContainersTools
from tests.support.images import oci_layout
from tests.support.layers import MIB, noise, write_noise
from tests.support.nginx import Nginx, server_block
from tests.support.servers import RegistryServer
from tests.support.tools import require_tool, run
from tests.support.tree import LAYOUT
from tests.support.wire import Answer, path_of, sha256

pytestmark = pytest.mark.live

CONFIG = """
version: 0.1
log: {level: info}
storage: {delete: {enabled: true}, filesystem: {rootdirectory: /nowhere}}
http: {headers: {X-Own: [kept]}}
"""
OFFLOAD = {"REGISTRY_HTTP_ACCELREDIRECT": "/blobs-internal/"}
SENT = "X-Accel-Redirect"
NAME = "live/accel"
SMALL = random.Random(0).randbytes(1000)  # known: it is part of the names of tests
LARGE_MIB = 64
DESCRIBED = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Docker-Content-Digest",
    "Docker-Distribution-Api-Version",
    "ETag",
    "Last-Modified",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A registry and the nginx in front of it."""

    registry: RegistryServer
    nginx: Nginx


@dataclass(frozen=True, slots=True)
class Sites:
    """Two sites over one folder."""

    offloading: Site
    plain: Site

    def both(self, target: str, headers: dict[str, str] | None = None) -> tuple[Answer, Answer]:
        """Ask both; what it takes to send nothing but the headers given."""
        return (
            self.offloading.nginx.wire.request("GET", target, headers=headers),
            self.plain.nginx.wire.request("GET", target, headers=headers),
        )


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """Give both sites, with a small blob pushed."""
    require_tool("nginx")
    folder = tmp_path_factory.mktemp("accel")
    with ExitStack() as stack:

        def site(name: str, env: dict[str, str]) -> Site:
            server = RegistryServer(folder / name, folder / "root", config=CONFIG, env=env)
            registry = stack.enter_context(server)
            return Site(registry, stack.enter_context(Nginx(folder / f"{name}-nginx", registry)))

        made = Sites(site("offloading", OFFLOAD), site("plain", {}))
        made.plain.registry.wire.push_blob(NAME, SMALL)
        yield made


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with more bytes than any buffer holds."""
    return write_noise(tmp_path_factory.mktemp("layer") / "layer", LARGE_MIB, seed=1)


@pytest.fixture(scope="module")
def large(sites: Sites) -> str:
    """Push the same bytes past both; return the path of the blob."""
    whole = hashlib.sha256()
    for piece in noise(LARGE_MIB, seed=1):
        whole.update(piece)
    target = f"/v2/{NAME}/blobs/uploads/?digest=sha256:{whole.hexdigest()}"
    body = noise(LARGE_MIB, seed=1)
    pushed = sites.plain.registry.wire.expect(201, "POST", target, body)
    return path_of(pushed.header("Location"))


@pytest.fixture(params=["offloading", "plain"])
def site(request: pytest.FixtureRequest, sites: Sites) -> Site:
    """Give each site in turn."""
    chosen: Site = getattr(sites, request.param)
    return chosen


def described(answer: Answer) -> dict[str, str | None]:
    """Return status and headers that say what a body is; boundaries are arbitrary."""
    found = {name: answer.headers.get_all(name) for name in DESCRIBED}
    texts = {name: None if every is None else ", ".join(every) for name, every in found.items()}
    kind = texts["Content-Type"]
    texts["Content-Type"] = kind and kind.partition(" boundary=")[0]
    return {"status": str(answer.status), **texts}


def blob_path(content: bytes) -> str:
    """Return where a blob is pulled."""
    return f"/v2/{NAME}/blobs/{sha256(content)}"


def test_a_blob_comes_from_nginx_as_it_would_from_us(sites: Sites) -> None:
    """The bytes, and every header that describes them, once."""
    offloaded, plain = sites.both(blob_path(SMALL))
    assert offloaded.body == plain.body == SMALL
    assert described(offloaded) == described(plain)
    assert offloaded.header("ETag") == f'"{sha256(SMALL)}"'
    assert offloaded.header("Docker-Content-Digest") == sha256(SMALL)
    assert offloaded.header("Content-Type") == "application/octet-stream"
    assert offloaded.headers.get_all("Accept-Ranges") == ["bytes"]
    # An operator's own headers are dropped, as the manual says.
    assert (offloaded.headers["X-Own"], plain.headers["X-Own"]) == (None, "kept")
    assert not [name for name in offloaded.headers if name.lower().startswith("x-accel")]


def test_the_registry_itself_sends_no_bytes(sites: Sites) -> None:
    """Behind nginx there is a path in the place of the body."""
    answer = sites.offloading.registry.wire.expect(200, "GET", blob_path(SMALL))
    text = sha256(SMALL).removeprefix("sha256:")
    assert answer.body == b""
    assert answer.header(SENT) == f"/blobs-internal/sha256/{text[:2]}/{text}/data"
    assert SENT not in sites.plain.registry.wire.expect(200, "GET", blob_path(SMALL)).headers


CONDITIONS: list[dict[str, str]] = [
    *({"Range": f"bytes={wanted}"} for wanted in (
        "0-0", "0-999", "5-9", "5-", "999-", "-1", "-1000", "-1001", "990-2000", "007-008", ",1-2",
        "0-999999999999999999", f"1-{'9' * 30}", "0-4,3-6", "0-1,4-5", "8-9,0-1", "-2, 0-0 ,3-3",
        "0-,-5", "2-3,5000-6000", " 1-2 ", "0-0,0-0,0-0,0-0",
        "1000-", "1000-1001", "-0", "5-2", "a-b", "", "-", "1-2-3", "0-0;1-1", f"{'9' * 30}-",
        ",".join(f"{at}-{at}" for at in range(0, 40, 2)),
    )),
    {"Range": "items=0-1"},
    {"Range": "bytes"},
    {"Range": "BYTES=1-2"},
    *({"Range": wanted, "If-Range": condition} for wanted in ("bytes=1-2", "bytes=5000-")
      for condition in (
        f'"{sha256(SMALL)}"', f'W/"{sha256(SMALL)}"', '"other"', sha256(SMALL), "x",
        "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT",
    )),
    *({name: text} for name in ("If-None-Match", "If-Match") for text in (
        f'"{sha256(SMALL)}"', f'W/"{sha256(SMALL)}"', '"other"', "*", f'"a", "{sha256(SMALL)}"',
    )),
    *({name: date} for name in ("If-Modified-Since", "If-Unmodified-Since") for date in (
        "Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 21 Oct 2095 07:28:00 GMT", "no date",
    )),
    {"Accept-Encoding": "gzip"},
    {"Accept": "text/html"},
]  # fmt: skip


def test_ranges_and_conditions_mean_the_same(sites: Sites) -> None:
    """Status, bytes and headers are equal, also where nginx by itself would answer otherwise."""
    statuses = set()
    for headers in CONDITIONS:
        offloaded, plain = sites.both(blob_path(SMALL), headers)
        assert described(offloaded) == described(plain), headers
        if "," not in headers.get("Range", ""):  # whose boundaries differ
            assert offloaded.body == plain.body, headers
        assert offloaded.status != 200 or offloaded.body == SMALL, headers
        statuses.add(offloaded.status)
    assert statuses == {200, 206, 304, 416}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("target", "status"),
    [
        (blob_path(b"never pushed"), 404),
        (f"/v2/elsewhere/blobs/{sha256(SMALL)}", 404),
        (f"/v2/{NAME}/blobs/sha256:..%2fx", 404),
        (f"/v2/{NAME}/blobs/sha256:0", 400),
        (f"/v2/{NAME}/blobs/{sha256(SMALL)}%0d%0aX-Accel-Redirect:%20x", 400),
    ],
)
def test_refusals_are_the_registrys(sites: Sites, method: str, target: str, status: int) -> None:
    """The envelope reaches the client, and no file."""
    for site in (sites.offloading, sites.plain):
        answer = site.nginx.wire.expect(status, method, target)
        assert method == "HEAD" or json.loads(answer.body)["errors"]
        assert SENT not in site.registry.wire.request(method, target).headers


def test_head_has_the_length(site: Site) -> None:
    """What HEAD says is what GET brings."""
    head = site.nginx.wire.expect(200, "HEAD", blob_path(SMALL))
    assert described(head) == described(site.nginx.wire.expect(200, "GET", blob_path(SMALL)))
    assert head.header("Content-Length") == "1000"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_no_client_gets_past_the_gate(sites: Sites, method: str) -> None:
    """The internal location does not exist outside, however its path is written."""
    text = sha256(SMALL).removeprefix("sha256:")
    file = f"sha256/{text[:2]}/{text}/data"
    assert (sites.offloading.registry.root / LAYOUT / "blobs" / file).read_bytes() == SMALL
    for path in (
        f"/blobs-internal/{file}",
        f"//blobs-internal/{file}",
        f"/v2/../blobs-internal/{file}",
        f"/v2/%2e%2e/blobs-internal/{file}",
        f"/blobs%2Dinternal/{file}",
        "/blobs-internal/",
        "/blobs-internal",
        f"/blobs-internal/../repositories/{NAME}/_layers/sha256/{text}/link",
        f"/blobs-internal/%2e%2e/repositories/{NAME}/_layers/sha256/{text}/link",
    ):
        headers = {SENT: f"/blobs-internal/{file}", "X-Original-URI": "/v2/"}
        with Connection.to(sites.offloading.nginx.port) as connection:
            lines = "".join(f"\n{name}: {value}" for name, value in headers.items())
            connection.send(head_of(f"{method} {path} HTTP/1.1{lines}\nContent-Length: 0"))
            answer = connection.answer(method)
        assert answer.status in {301, 404, 405}, path
        assert SMALL not in answer.body


def test_what_a_client_says_of_paths_changes_nothing(sites: Sites) -> None:
    """Its own X-Accel headers lead to no other file, and switch nothing off."""
    headers = {SENT: "/etc/passwd", "X-Accel-Mapping": "/=/etc/", "X-Sendfile-Type": "X-Sendfile"}
    for answer in sites.both(blob_path(SMALL), headers):
        assert (answer.status, answer.body) == (200, SMALL)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_any_blob(sites: Sites, algorithm: str, size: int) -> None:
    """Empty and not, under either algorithm, pushed through nginx."""
    content = os.urandom(size)
    digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    wire = sites.offloading.nginx.wire
    wire.expect(201, "POST", f"/v2/{NAME}/blobs/uploads/?digest={digest}", content)
    for headers in (None, {"Range": "bytes=0-"}):
        offloaded, plain = sites.both(f"/v2/{NAME}/blobs/{digest}", headers)
        assert offloaded.body == plain.body == content
        assert described(offloaded) == described(plain)
        assert offloaded.header("Docker-Content-Digest") == digest


def test_a_blob_stored_under_another_algorithm(sites: Sites) -> None:
    """distribution stores a sha512 push under its sha256; the client sees the name it asked for."""
    content = b"pushed to distribution"
    text = hashlib.sha512(content).hexdigest()
    sites.plain.registry.wire.push_blob(NAME, content)
    link = sites.plain.registry.root / LAYOUT / f"repositories/{NAME}/_layers/sha512/{text}/link"
    link.parent.mkdir(parents=True)
    link.write_text(sha256(content))
    offloaded, plain = sites.both(f"/v2/{NAME}/blobs/sha512:{text}")
    assert offloaded.body == plain.body == content
    assert described(offloaded) == described(plain)
    assert offloaded.header("Docker-Content-Digest") == f"sha512:{text}"


def test_a_blob_cut_to_nothing_is_absent(sites: Sites) -> None:
    """A file that a crash of an older registry emptied is 404, offloaded or not."""
    content = os.urandom(100)
    digest = sites.plain.registry.wire.push_blob(NAME, content)
    text = digest.removeprefix("sha256:")
    (sites.plain.registry.root / LAYOUT / f"blobs/sha256/{text[:2]}/{text}/data").write_bytes(b"")
    for answer in sites.both(blob_path(content)):
        assert answer.status == 404
        assert json.loads(answer.body)["errors"][0]["code"] == "BLOB_UNKNOWN"


@pytest.mark.parametrize("framing", ["Content-Length", "chunked"])
def test_a_large_layer_there_and_back_by_curl(
    site: Site, layer: Path, tmp_path: Path, framing: str
) -> None:
    """Pushed and pulled through nginx, in both framings, whatever the site does with blobs."""
    with layer.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    base = f"http://{site.nginx.address}/v2/{NAME}/{framing.lower()}"
    curl = [require_tool("curl"), "-sS", "--fail", "--max-time", "50"]
    chunked = ["-H", "Transfer-Encoding: chunked"] if framing == "chunked" else []
    run([*curl, *chunked, "-X", "POST", "-T", str(layer), f"{base}/blobs/uploads?digest={digest}"])
    run([*curl, "-o", str(tmp_path / "whole"), f"{base}/blobs/{digest}"])
    assert (tmp_path / "whole").read_bytes() == layer.read_bytes()
    (tmp_path / "whole").write_bytes(layer.read_bytes()[: 10 * MIB])
    run([*curl, "-C", "-", "-o", str(tmp_path / "whole"), f"{base}/blobs/{digest}"])
    assert (tmp_path / "whole").read_bytes() == layer.read_bytes()
    (tmp_path / "whole").unlink()


def test_an_image_there_and_back_by_skopeo(site: Site, tmp_path: Path) -> None:
    """A client that checks every digest is content, behind nginx with either registry."""
    containers = ContainersTools(tmp_path / "containers")
    digest = oci_layout(tmp_path / "layout", "v1")
    remote = f"docker://{site.nginx.address}/{NAME}/image:v1"
    to_us, from_us = "--dest-tls-verify=false", "--src-tls-verify=false"
    containers.skopeo("copy", "--format=oci", to_us, f"oci:{tmp_path}/layout:v1", remote)
    containers.skopeo("copy", from_us, remote, f"dir:{tmp_path}/back")
    assert sha256((tmp_path / "back" / "manifest.json").read_bytes()) == digest


def test_an_offloading_registry_reads_nothing(sites: Sites, large: str) -> None:
    """64 MiB reach the client whole; the processes behind nginx read none of them."""
    registry = sites.offloading.registry
    before = registry.bytes_read()
    answer = sites.offloading.nginx.wire.expect(200, "GET", large)
    assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == large.rpartition("/")[2]
    assert registry.bytes_read() - before < MIB


def test_a_slow_reader_is_nginxs(site: Site, sites: Sites, large: str) -> None:
    """While a client reads nothing, a registry that offloads has nothing open for it."""
    with Connection.to(site.nginx.port) as connection:
        connection.send(head_of(f"GET {large} HTTP/1.1"))
        head = connection.head()
        assert (head.status, head.header("Content-Length")) == (200, str(LARGE_MIB * MIB))
        held = [path for path in open_files(site.registry) if "/blobs/" in path]
        assert bool(held) is (site is sites.plain)
        whole = hashlib.sha256(connection.read(LARGE_MIB * MIB))
    assert f"sha256:{whole.hexdigest()}" == large.rpartition("/")[2]


def test_a_download_does_not_wait_on_nginxs_disk(site: Site, large: str) -> None:
    """Of an answer that is not read, nginx takes what fits its buffers and writes no file."""
    with Connection.to(site.nginx.port) as connection:
        connection.send(head_of(f"GET {large} HTTP/1.1"))
        connection.head()
        # Long enough for nginx to have written some of it: it serves others meanwhile.
        for _ in range(20):
            site.nginx.wire.expect(200, "GET", blob_path(SMALL))
        assert [path for path in files_of(site.nginx) if "/answers/" in path] == []


@pytest.mark.parametrize("framing", ["Content-Length: 8388608", "Transfer-Encoding: chunked"])
def test_an_upload_does_not_wait_on_nginxs_disk(site: Site, framing: str) -> None:
    """What arrived of a body is with the registry before the rest of it was sent."""
    begun = site.nginx.wire.expect(202, "POST", f"/v2/{NAME}/blobs/uploads/")
    path = path_of(begun.header("Location"))
    content = os.urandom(4 * MIB)
    with Connection.to(site.nginx.port) as connection:
        connection.send(head_of(f"PATCH {path} HTTP/1.1\n{framing}"))
        connection.send(b"%x\r\n" % (8 * MIB) + content if "chunked" in framing else content)
        until(lambda: arrived(site.registry, path), "the registry is writing")
        assert [path for path in files_of(site.nginx) if "/bodies/" in path] == []
    until(lambda: not arrived(site.registry, path), "the registry has let go")
    site.nginx.wire.expect(204, "DELETE", path)


def files_of(nginx: Nginx) -> list[str]:
    """Return the targets of all descriptors of nginx; its temporary files have lost their names."""
    found: list[str] = []
    for pid in nginx.pids():
        folder = Path(f"/proc/{pid}/fd")
        found += [os.readlink(each) for each in folder.iterdir() if each.is_symlink()]
    return found


def test_the_block_is_the_manuals() -> None:
    """A name that is not in the manual's block is an error, so the tests run what is shown."""
    assert "location /blobs-internal/" in server_block({})
    with pytest.raises(AssertionError, match="is not in the manual's block"):
        server_block({"listen 81;": ""})
