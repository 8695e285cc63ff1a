"""Odd documents that docker-registry accepts are accepted here, or served from its volume.

Both serve one folder at the same time, so what the one stored the other finds at once.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.documents import config_for, descriptor, image_index, image_manifest
from tests.support.servers import DistributionServer, LiveServer, RegistryServer
from tests.support.wire import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, sha256

pytestmark = [pytest.mark.clients, pytest.mark.live, pytest.mark.timeout(240)]

REPOSITORY = "odd/documents"
LAYER = b"one layer"
CONFIG = config_for([LAYER])
IMAGE = image_manifest(CONFIG, [LAYER])
TYPES = (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST)
EVERY_TYPE = {"Accept": ", ".join(TYPES)}

Document: TypeAlias = dict[str, Any]
Seen: TypeAlias = tuple[int, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Both:
    """The peer and this server, over one root."""

    peer: LiveServer
    ours: LiveServer


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Give both servers, with a layer, a configuration and an image of them."""
    folder = tmp_path_factory.mktemp("documents")
    root = folder / "root"
    with (
        DistributionServer(folder / "peer", root) as peer,
        RegistryServer(folder / "ours", root, workers=1) as ours,
    ):
        for blob in (LAYER, CONFIG):
            peer.wire.push_blob(REPOSITORY, blob)
        peer.wire.push_manifest(REPOSITORY, "image", IMAGE, OCI_MANIFEST)
        yield Both(peer, ours)


def put(server: LiveServer, raw: bytes, media_type: str, reference: str = "odd") -> int:
    """Push a document; return the status."""
    target = f"/v2/{REPOSITORY}/manifests/{reference}"
    return server.wire.request("PUT", target, raw, {"Content-Type": media_type}).status


def seen(server: LiveServer, reference: str, method: str = "GET") -> Seen:
    """Ask for a document, in any type."""
    target = f"/v2/{REPOSITORY}/manifests/{reference}"
    answer = server.wire.request(method, target, None, EVERY_TYPE)
    digest, media_type = (
        str(answer.headers[name] or "") for name in ("Docker-Content-Digest", "Content-Type")
    )
    return answer.status, digest, media_type, answer.body


def document(media_type: str) -> Document:
    """Return a usual document of a type."""
    if media_type in (OCI_INDEX, DOCKER_LIST):
        made = image_index({"amd64": IMAGE}, media_type)
    else:
        made = image_manifest(CONFIG, [LAYER], media_type)
    parsed: Document = json.loads(made)
    return parsed


def changed(media_type: str, change: Callable[[Document], object]) -> bytes:
    """Return a document with one change."""
    made = document(media_type)
    change(made)
    return json.dumps(made).encode()


def parts(made: Document) -> list[Document]:
    """Return the descriptors of a document."""
    lists = [one for key in ("layers", "manifests") for one in made.get(key) or ()]
    return [*([made["config"]] if made.get("config") else ()), *lists]


def _each(key: str, value: object) -> Callable[[Document], object]:
    return lambda made: [part.update({key: value}) for part in parts(made)]


def _without(key: str) -> Callable[[Document], object]:
    return lambda made: [part.pop(key, None) for part in parts(made)]


# Documents that registry:2 and registry:3 both accept, with their media types.
ACCEPTED: dict[str, tuple[tuple[str, ...], Callable[[Document], object]]] = {
    "no size": (TYPES, _without("size")),
    "a null size": (TYPES, _each("size", None)),
    "a size of -1": (TYPES, _each("size", -1)),
    "another size": (TYPES, _each("size", 1)),
    "a null annotation": (TYPES, _each("annotations", {"a": None})),
    "null annotations": (TYPES, lambda made: made.update(annotations=None)),
    "null lists of URLs": (TYPES, _each("urls", None)),
    "an empty URL": ((DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST), _each("urls", [""])),
    "a null URL": ((DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST), _each("urls", [None])),
    "a URL that no client fetches": (
        (DOCKER_MANIFEST, OCI_INDEX, DOCKER_LIST),
        _each("urls", ["ftp://example.com/x", "http://example.com/x#y"]),
    ),
    "empty media types": (TYPES, _each("mediaType", "")),
    "null platforms": (TYPES, _each("platform", None)),
    "an empty mediaType": ((OCI_MANIFEST, OCI_INDEX), lambda made: made.update(mediaType="")),
    "a null mediaType": ((OCI_MANIFEST, OCI_INDEX), lambda made: made.update(mediaType=None)),
    "no manifests": ((OCI_INDEX, DOCKER_LIST), lambda made: made.pop("manifests")),
    "null manifests": ((OCI_INDEX, DOCKER_LIST), lambda made: made.update(manifests=None)),
    "no layers": ((OCI_MANIFEST, DOCKER_MANIFEST), lambda made: made.pop("layers")),
    "null layers": ((OCI_MANIFEST, DOCKER_MANIFEST), lambda made: made.update(layers=None)),
    "a null config of an index": ((OCI_INDEX, DOCKER_LIST), lambda made: made.update(config=None)),
    "null manifests of an image": (
        (OCI_MANIFEST, DOCKER_MANIFEST),
        lambda made: made.update(manifests=None),
    ),
    "an empty subject": (TYPES, lambda made: made.update(subject={})),
    "a text as subject": (TYPES, lambda made: made.update(subject="x")),
    "a subject of an unknown algorithm": (
        TYPES,
        lambda made: made.update(subject={"digest": f"blake3:{'0' * 64}"}),
    ),
    "a number as artifact type": (TYPES, lambda made: made.update(artifactType=7)),
    "a text as annotations": (
        (DOCKER_MANIFEST, DOCKER_LIST),
        lambda made: made.update(annotations="x"),
    ),
    "half a surrogate pair": (TYPES, lambda made: made.update(x="\ud800")),
    "nothing but a version": (
        (OCI_INDEX,),
        lambda made: [made.pop(key) for key in ("manifests", "mediaType")],
    ),
    "a layer as child": (
        (OCI_INDEX, DOCKER_LIST),
        lambda made: made.update(manifests=[descriptor("application/octet-stream", LAYER)]),
    ),
}
CASES = [(case, media_type) for case, (types, _) in ACCEPTED.items() for media_type in types]


def check_both(both: Both, raw: bytes, media_type: str) -> None:
    """Push to both: each takes it, and each serves what it took as the other does."""
    for server in (both.peer, both.ours):
        assert put(server, raw, media_type) == 201
        for reference in ("odd", sha256(raw)):
            ours, peers = (seen(one, reference) for one in (both.ours, both.peer))
            assert ours == peers
            assert ours[:2] + ours[3:] == (200, sha256(raw), raw)


@pytest.mark.parametrize(("case", "media_type"), CASES)
def test_documents_that_other_registries_accept_are_accepted(
    both: Both, case: str, media_type: str
) -> None:
    """Both answer 201, and serve what they took, or the other took, with the same type."""
    check_both(both, changed(media_type, ACCEPTED[case][1]), media_type)


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize(
    "more", [b'"\xff\xfe"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b"[" * 5000 + b"]" * 5000, b"1e999"]
)
def test_json_that_go_parses_is_accepted(both: Both, more: bytes, media_type: str) -> None:
    """Bytes that are not UTF-8 and many levels, in fields that no registry reads."""
    check_both(
        both, json.dumps(document(media_type)).encode()[:-1] + b',"x":' + more + b"}", media_type
    )


REFUSED = {
    "a key twice": lambda raw: raw[:-1] + b',"x":1,"x":2}',
    "a digest twice": lambda raw: raw.replace(b'"digest":', b'"digest":"x","digest":', 1),
    "keys in another case": lambda raw: raw.replace(b'"digest"', b'"Digest"'),
    "fields in another case": lambda raw: raw.replace(b'"mediaType"', b'"MediaType"').replace(
        b'"schemaVersion"', b'"SCHEMAVERSION"'
    ),
    "too many values": lambda raw: raw[:-1] + b',"x":[' + b"[]," * 400_000 + b"0]}",
}


@pytest.mark.parametrize("media_type", TYPES)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_a_push_is_served_from_the_volume(
    both: Both, case: str, media_type: str
) -> None:
    """What two readers read differently, and what takes too long to read."""
    raw = REFUSED[case](json.dumps(document(media_type)).encode())
    assert put(both.ours, raw, media_type, "refused") == 400
    assert put(both.peer, raw, media_type) == 201
    for reference in ("odd", sha256(raw)):
        ours, peers = (seen(one, reference) for one in (both.ours, both.peer))
        assert ours == peers
        head = seen(both.ours, reference, "HEAD")
        assert head == (*peers[:3], b"")


@pytest.mark.parametrize("case", ["a key twice", "too many values"])
def test_a_list_gives_its_default_image_to_a_client_that_reads_none(both: Both, case: str) -> None:
    """Also when a push of the list is refused today: by tag the linux/amd64 image is answered."""
    raw = REFUSED[case](json.dumps(document(DOCKER_LIST)).encode())
    assert put(both.peer, raw, DOCKER_LIST) == 201
    target, accepted = f"/v2/{REPOSITORY}/manifests/odd", {"Accept": OCI_MANIFEST}
    peers, ours = (
        one.wire.request("GET", target, None, accepted) for one in (both.peer, both.ours)
    )
    assert peers.status == 200
    assert peers.body == IMAGE
    if case == "a key twice":
        assert (ours.status, ours.body) == (200, IMAGE)
        assert ours.header("Content-Type") == OCI_MANIFEST
    else:  # its children are not read
        assert ours.status == 404
        assert f"send the header Accept: {DOCKER_LIST}" in ours.body.decode()


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 3),
        st.sampled_from(["", "x", *TYPES, sha256(LAYER), sha256(IMAGE), "linux", "http://x/y"]),
        st.sampled_from([2**63, -(2**63), 1.5]),
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "digest", "mediaType", "size"]), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = (
    "schemaVersion", "mediaType", "config", "layers", "manifests", "annotations", "subject",
    "artifactType", "digest", "size", "urls", "platform", "os", "architecture", "data", "x",
)  # fmt: skip
CASED = st.sampled_from(
    [form(key) for key in KEYS for form in (str, str, str, str.upper, str.title)]
    + ["\u017fchemaVersion", "layer\u017f"]
)


def _insides(value: object) -> Iterator[Document]:
    if isinstance(value, dict):
        yield value
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from _insides(inner)


@st.composite
def odd_documents(draw: st.DrawFn) -> tuple[bytes, str]:
    """Draw a document with a few changes, and the Content-Type it is pushed with."""
    media_type = draw(st.sampled_from(TYPES))
    made = copy.deepcopy(document(media_type))
    for _ in range(draw(st.integers(1, 3))):
        inner = draw(st.sampled_from(list(_insides(made))))
        key = draw(CASED)
        if draw(st.integers(0, 3)):
            inner[key] = draw(VALUES)
        else:
            inner.pop(key, None)
    raw = json.dumps(made).encode()
    if draw(st.booleans()):
        twice = json.dumps({draw(CASED): draw(VALUES)})[1:-1].encode()
        raw = raw[:-1] + b"," + twice + b"}"
    if not draw(st.integers(0, 4)):
        raw = raw.replace(b'"x"', b'"\xff"')
    return raw, media_type


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(odd=odd_documents())
def test_documents_stored_by_registry_2_are_served_from_its_volume(
    both: Both, odd: tuple[bytes, str]
) -> None:
    """Whatever it takes and serves: the same status, bytes, digest and type, by tag and digest."""
    raw, media_type = odd
    if put(both.peer, raw, media_type) != 201:
        return
    for reference in ("odd", sha256(raw)):
        peers = seen(both.peer, reference)
        if peers[0] == 200:
            assert seen(both.ours, reference) == peers
