"""Raw bytes are parsed to a manifest or raise `ManifestInvalid`, never anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import ManifestInvalid
from storage.values.digest import Digest
from storage.values.manifests import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    OCI_INDEX,
    OCI_MANIFEST,
    SUPPORTED_TYPES,
    Manifest,
    parse_manifest,
    sniff_media_type,
    stored_document,
)
from storage.values.referrer_entries import describe
from tests.storage.documents import (
    ARTIFACT,
    DOCKER_IMAGE,
    DOCKER_INDEX,
    EMPTY_DIGEST,
    EXAMPLES,
    NULL_LAYERS,
    OCI_IMAGE,
    OCI_LIST,
    PLUGIN,
    REFERRING_INDEX,
    WINDOWS_IMAGE,
    Document,
)
from tests.storage.examples import JSON, MANY

TYPES = {
    "docker image": DOCKER_MANIFEST,
    "windows image": DOCKER_MANIFEST,
    "docker list": DOCKER_LIST,
    "plugin": DOCKER_MANIFEST,
    "oci image": OCI_MANIFEST,
    "artifact": OCI_MANIFEST,
    "null layers": OCI_MANIFEST,
    "oci index": OCI_INDEX,
    "referring index": OCI_INDEX,
}


def _parse(document: object, content_type: str = "") -> Manifest:
    return parse_manifest(json.dumps(document).encode(), content_type)


def _hexes(manifest: Manifest) -> str:
    """Return what a manifest refers to, by the first digit of each digest."""
    return "".join(one.digest.hex[0] for one in (*manifest.blobs, *manifest.children))


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_each_kind_is_read(kind: str) -> None:
    """Every kind has its type, with its own Content-Type, with none, and with a generic one."""
    raw = json.dumps(EXAMPLES[kind], indent=3).encode() + b"\n"
    for content_type in ("", "application/json", TYPES[kind]):
        manifest = parse_manifest(raw, content_type)
        assert manifest.media_type == TYPES[kind] == sniff_media_type(raw)
        assert manifest.raw == raw
        assert manifest.is_index == ("index" in kind or "list" in kind)
    for wrong in SUPPORTED_TYPES - {TYPES[kind]} | {"text/html"}:
        with pytest.raises(ManifestInvalid, match="Content-Type"):
            parse_manifest(raw, wrong)


def test_images_refer_to_config_and_layers() -> None:
    """Config first, then the layers, each with type, size and digest as written."""
    assert [_hexes(_parse(one)) for one in (DOCKER_IMAGE, PLUGIN, OCI_IMAGE)] == [
        "abc",
        "ab",
        "abc",
    ]
    config, layer, _ = _parse(DOCKER_IMAGE).blobs
    assert (config.media_type, config.size) == (DOCKER_IMAGE["config"]["mediaType"], 1512)
    assert layer.digest == Digest("sha256", "b" * 64)
    assert _parse(OCI_IMAGE).annotations == OCI_IMAGE["annotations"]
    subject = _parse(OCI_IMAGE).subject
    assert subject is not None
    assert (subject.digest.hex, subject.size) == ("d" * 64, 7682)


def test_indexes_refer_to_children() -> None:
    """Children have their platform; a platform's other fields are ignored."""
    children = _parse(DOCKER_INDEX).children
    platforms = [
        (one.os, one.architecture, one.variant) for one in (c.platform for c in children) if one
    ]
    assert platforms == [("linux", "amd64", ""), ("linux", "arm", "v7"), ("windows", "amd64", "")]
    assert _hexes(_parse(OCI_LIST)) == "ab"
    assert _parse(REFERRING_INDEX).children == ()


def test_foreign_layers_are_told_apart() -> None:
    """A non-distributable type with URLs is foreign; only URLs or only the type are not."""
    foreign = _parse(WINDOWS_IMAGE).blobs
    assert [one.is_foreign for one in foreign] == [False, True, False]
    without = copy.deepcopy(WINDOWS_IMAGE)
    del without["layers"][0]["urls"]
    without["layers"][1]["urls"] = ["https://example.com/layer"]
    assert not any(one.is_foreign for one in _parse(without).blobs)


def test_artifacts_have_a_type() -> None:
    """artifactType; else a config's media type; else, for an index, none."""
    assert _parse(ARTIFACT).artifact_type == "application/vnd.example+type"
    assert str(_parse(ARTIFACT).blobs[0].digest) == EMPTY_DIGEST
    for absent in ({}, {"artifactType": ""}, {"artifactType": None}):
        document = {key: value for key, value in ARTIFACT.items() if key != "artifactType"}
        assert _parse({**document, **absent}).artifact_type == "application/vnd.oci.empty.v1+json"
    assert _parse(REFERRING_INDEX).artifact_type == "application/vnd.example.sboms"
    assert _parse(OCI_LIST).artifact_type == ""


def test_null_counts_as_absent_where_go_writes_it() -> None:
    """Null layers, annotations, subject, urls and platform count as absent."""
    assert _hexes(_parse(NULL_LAYERS)) == "a"
    document = copy.deepcopy(OCI_IMAGE)
    document |= {"subject": None, "artifactType": None}
    document["layers"][0] |= {"urls": None, "platform": None, "annotations": None}
    manifest = _parse(document)
    assert manifest.subject is None
    assert manifest.blobs[1].urls == ()


def test_a_type_follows_from_the_fields() -> None:
    """Without mediaType, `manifests` makes an index and config or layers a manifest."""
    for document, expected in ((OCI_LIST, OCI_INDEX), (OCI_IMAGE, OCI_MANIFEST)):
        bare = {key: value for key, value in document.items() if key != "mediaType"}
        assert _parse(bare).media_type == expected
    assert sniff_media_type(b'{"schemaVersion": 1, "fsLayers": []}') == DOCKER_SCHEMA1
    for nothing in ({}, {"schemaVersion": 2}, {"schemaVersion": 1}):
        with pytest.raises(ManifestInvalid):
            _parse(nothing)


@pytest.mark.parametrize(
    "document",
    [
        {**OCI_IMAGE, "manifests": []},
        {**DOCKER_IMAGE, "manifests": OCI_LIST["manifests"]},
        {**OCI_LIST, "layers": []},
        {**OCI_LIST, "config": OCI_IMAGE["config"]},
        {**DOCKER_INDEX, "layers": []},
        {**DOCKER_IMAGE, "manifests": ""},
        {**OCI_IMAGE, "fsLayers": []},
        {**OCI_LIST, "mediaType": OCI_MANIFEST},
        {**OCI_IMAGE, "mediaType": OCI_INDEX},
    ],
)
def test_a_document_of_two_kinds_is_refused(document: Document) -> None:
    """One reader could take it for an image and another for an index (CVE-2021-41190)."""
    for content_type in ("", *SUPPORTED_TYPES):
        with pytest.raises(ManifestInvalid):
            _parse(document, content_type)


@pytest.mark.parametrize("key", ["Manifests", "MANIFESTS", "manife\u017fts"])
def test_a_key_that_go_reads_without_its_case_is_refused(key: str) -> None:
    """Go ignores the case of keys, so for Go this image is an index as well."""
    with pytest.raises(ManifestInvalid):
        _parse({**OCI_IMAGE, key: OCI_LIST["manifests"]})
    with pytest.raises(ManifestInvalid):
        _parse({**DOCKER_INDEX, "Layers": DOCKER_IMAGE["layers"]})


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_a_document_of_an_unknown_type_is_refused(kind: str) -> None:
    """Schema 1, the artifact manifest of a draft, and invented types are not supported."""
    unknown = (
        DOCKER_SCHEMA1,
        "application/vnd.oci.artifact.manifest.v1+json",
        "x",
        OCI_INDEX.upper(),
    )
    for media_type in unknown:
        with pytest.raises(ManifestInvalid):
            _parse({**EXAMPLES[kind], "mediaType": media_type})


LONG = "\x7f" * 100_000


@pytest.mark.parametrize(
    "fields",
    [{"mediaType": LONG}, {"annotations": {LONG: 1}}, {"annotations": LONG}, {"config": LONG}],
)
def test_a_refusal_quotes_little_of_a_long_text(fields: Document) -> None:
    """Quoting all of it would take as much time and memory as the client likes."""
    with pytest.raises(ManifestInvalid) as refused:
        _parse({**EXAMPLES["oci image"], **fields})
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("version", [1, 3, 0, -2, 2.0, "2", True, None, [2], 10**40])
def test_only_schema_version_2_is_read(version: object) -> None:
    """The version is the number 2."""
    with pytest.raises(ManifestInvalid, match="schemaVersion"):
        _parse({**OCI_IMAGE, "schemaVersion": version})


HOSTILE = {
    "nothing": b"",
    "space": b" ",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "deep lists": b"[" * 200_000,
    "closed deep lists": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000,
    "a huge number": b'{"schemaVersion":' + b"9" * 100_000 + b"}",
    "a huge exponent": b'{"schemaVersion":2e99999,"manifests":[]}',
    "NaN": b'{"schemaVersion":2,"manifests":[],"x":NaN}',
    "Infinity": b'{"schemaVersion":2,"manifests":[],"x":-Infinity}',
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(OCI_IMAGE).encode(),
    "UTF-16": json.dumps(OCI_IMAGE).encode("utf-16"),
    "UTF-16 without a mark": json.dumps(OCI_IMAGE).encode("utf-16-le"),
    "UTF-32": json.dumps(OCI_IMAGE).encode("utf-32"),
    "a byte that is not UTF-8 outside a string": b'{"schemaVersion":2,"manifests":[]\xff}',
    "an overlong quote": b'{"schemaVersion":2,"manifests":[],"x":\xc0\xa2y\xc0\xa2}',
    "trailing text": json.dumps(OCI_IMAGE).encode() + b"{}",
    "a NUL behind": json.dumps(OCI_IMAGE).encode() + b"\0",
    "a comment": b'{"schemaVersion":2,"manifests":[] /* x */}',
    "a trailing comma": b'{"schemaVersion":2,"manifests":[],}',
    "single quotes": b"{'schemaVersion':2,'manifests':[]}",
    "a control character": b'{"schemaVersion":2,"manifests":[],"x":"\x01"}',
    "10,001 levels": b'{"schemaVersion":2,"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep and not closed": b'{"schemaVersion":2,"x":' + b"[" * 5000 + b"]" * 4999 + b"}",
    "deep and closed twice": b'{"schemaVersion":2,"x":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "deep and closed by another": b'{"schemaVersion":2,"x":' + b"[" * 5000 + b"}" * 5000 + b"}",
    "deep and a string without end": b'{"schemaVersion":2,"x":' + b"[" * 5000 + b'"' + b'\\"' * 999,
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_plain_json_is_refused(raw: bytes) -> None:
    """Each raises ManifestInvalid, with a message that is short and can be sent to the client."""
    for read in (parse_manifest, sniff_media_type):
        if read is sniff_media_type and raw.startswith(b'{"schemaVersion":2e'):
            continue
        with pytest.raises(ManifestInvalid) as refused:
            read(raw)
        assert len(str(refused.value)) < 400
        str(refused.value).encode()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"schemaVersion":2,"manifests":[],"x":1e999}',
        b'{"schemaVersion":2,"manifests":[],"x":' + b"9" * 4000 + b"}",
        b'{"schemaVersion":2,"manifests":[],"x":"\\ud800","y":"\\u0000"}',
        b'{"schemaVersion":2,"manifests":[],"x":' + b"[" * 100 + b"]" * 100 + b"}",
        b' \n\t{"schemaVersion": 2, "manifests": []}\r\n',
    ],
)
def test_odd_fields_that_are_not_read_are_fine(raw: bytes) -> None:
    """What JSON allows in fields we do not know survives, as the bytes do."""
    assert parse_manifest(raw).raw == raw


AMBIGUOUS = {
    "a key twice": b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
    "a key twice below": b'{"schemaVersion":2,"manifests":[],"x":{"a":1,"a":2}}',
    "a key twice far below": b'{"schemaVersion":2,"manifests":[],"x":'
    + b"[" * 5000
    + b'{"a":1,"a":2}'
    + b"]" * 5000
    + b"}",
    "an escaped key twice": b'{"schemaVersion":2,"manifests":[],"\\u006danifests":[]}',
    "a key in another case": b'{"SchemaVersion":2,"manifests":[]}',
    "a key with a long s": '{"\u017fchemaVersion":2,"manifests":[]}'.encode(),
}


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_an_ambiguous_document_is_refused_in_a_push_and_served(raw: bytes) -> None:
    """A push is refused; a stored one has the type that Go reads."""
    with pytest.raises(ManifestInvalid):
        parse_manifest(raw)
    assert sniff_media_type(raw) == OCI_INDEX


@pytest.mark.parametrize(
    "text",
    [
        "é".encode("latin-1"),
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xff\xfe",
    ],
)
def test_a_byte_that_is_not_utf8_is_kept(text: bytes) -> None:
    """Within a string it is accepted, as in registry:2, and reads as U+FFFD."""
    raw = b'{"schemaVersion":2,"manifests":[],"annotations":{"k":"' + text + b'"}}'
    manifest = parse_manifest(raw)
    assert manifest.raw == raw
    assert set(manifest.annotations["k"]) == {"\ufffd"}


@pytest.mark.parametrize("levels", [100, 199, 200, 201, 1000, 5000, 9999])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_a_document_may_have_as_many_levels_as_go_reads(
    levels: int, opening: str, closing: str
) -> None:
    """However deep, the fields beside it are read, and brackets within strings are text."""
    deep = opening * levels + '"]}[{\\""' + closing * levels
    document = json.dumps(OCI_IMAGE)[:-1] + f', "x": {deep}, "y": "[{{"' + "}"
    assert parse_manifest(document.encode()).blobs == _parse(OCI_IMAGE).blobs
    assert sniff_media_type(document.encode()) == OCI_MANIFEST


def test_a_stored_document_may_have_any_number_of_values() -> None:
    """Half a million empty lists are refused in a push; a stored document has its type."""
    for document, media_type in ((OCI_IMAGE, OCI_MANIFEST), (DOCKER_INDEX, DOCKER_LIST)):
        raw = (json.dumps(document)[:-1] + ',"x":[' + "[]," * 500_000 + '"[{"]}').encode()
        with pytest.raises(ManifestInvalid, match="more than 100000 values"):
            parse_manifest(raw)
        assert sniff_media_type(raw) == media_type


@pytest.mark.parametrize("escape", [r"\n", r"\u0041", r"\\", r"\""])
@pytest.mark.parametrize("strings", [1, 50_000])
def test_a_stored_document_may_have_any_number_of_escapes(escape: str, strings: int) -> None:
    """Half a million, in one string or in many, are refused in a push; a stored one is served."""
    text = f'"{escape * (500_000 // strings)}"'
    raw = (json.dumps(OCI_IMAGE)[:-1] + f',"x":[{",".join([text] * strings)}]}}').encode()
    with pytest.raises(ManifestInvalid, match="4 escapes count as one"):
        parse_manifest(raw)
    assert sniff_media_type(raw) == OCI_MANIFEST


def test_a_manifest_with_a_document_in_an_annotation_is_read() -> None:
    """JSON within JSON has thousands of escapes."""
    inner = json.dumps({f"key {number}": 'a "quoted" text' for number in range(10_000)})
    assert _parse({**OCI_IMAGE, "annotations": {"a": inner}}).annotations == {"a": inner}


def test_an_index_of_ten_thousand_children_is_read() -> None:
    """With a platform and two annotations each it is as large as a push may be."""
    child = DOCKER_INDEX["manifests"][0]
    child = {**child, "platform": {"os": "a", "architecture": "b"}, "annotations": {"a": "b"}}
    raw = json.dumps({**OCI_LIST, "manifests": [child] * 9_990}).encode()
    assert len(parse_manifest(raw).children) == 9_990


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
FIELDS = st.sampled_from(["mediaType", "schemaVersion", "artifactType", "config", "MEDIATYPE", "x"])


@settings(max_examples=12)
@given(st.lists(st.tuples(FIELDS, SCALARS | st.just([]) | st.just({})), max_size=12), st.booleans())
def test_the_fields_of_a_stored_document_do_not_depend_on_the_rest(
    pairs: list[tuple[str, object]], is_ascii: bool
) -> None:
    """A hundred thousand more fields, before and after them, change none of them."""
    texts = [
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=is_ascii)}" for key, value in pairs
    ]
    fields = ", ".join([*texts, '"x": 1'])
    rest = ",".join(['"x,\\"":""'] * 50_100)
    alone = stored_document(f"{{{fields}}}".encode())
    among = stored_document(f" {{{rest} ,{fields}, {rest}\n}}\n".encode())
    assert {key: alone[key] or None for key in alone if key != "x"} == {
        key: value or None for key, value in among.items() if key != "x"
    }


NULL_OR_EMPTY = pytest.mark.parametrize("absent", [None, ""])


@NULL_OR_EMPTY
def test_a_media_type_that_is_empty_is_absent(absent: str | None) -> None:
    """The fields decide about the type then."""
    for document, expected in ((OCI_IMAGE, OCI_MANIFEST), (OCI_LIST, OCI_INDEX)):
        raw = json.dumps({**document, "mediaType": absent}).encode()
        assert parse_manifest(raw, expected).media_type == expected == sniff_media_type(raw)


def test_fields_that_are_null_make_no_second_kind() -> None:
    """Null counts as absent: an index with a null config is an index."""
    assert _parse({**OCI_LIST, "config": None, "layers": None, "fsLayers": None}).is_index
    assert not _parse({**OCI_IMAGE, "manifests": None}).is_index
    bare = {key: value for key, value in OCI_IMAGE.items() if key != "mediaType"}
    assert _parse({**bare, "manifests": None}).media_type == OCI_MANIFEST


@pytest.mark.parametrize("more", [{}, {"manifests": None}, {"manifests": []}])
@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_LIST])
def test_an_index_may_list_nothing(media_type: str, more: Document) -> None:
    """An index without `manifests` has no children."""
    manifest = _parse({"schemaVersion": 2, "mediaType": media_type, **more}, media_type)
    assert (manifest.media_type, manifest.children) == (media_type, ())


@pytest.mark.parametrize("more", [{}, {"manifests": None}, {"mediaType": ""}])
def test_an_empty_index_has_the_type_that_registry_2_serves(more: Document) -> None:
    """Only Content-Type makes it an index; it is served with the type of registry:2."""
    document = {"schemaVersion": 2, **more}
    assert _parse(document, OCI_INDEX).media_type == OCI_MANIFEST
    assert sniff_media_type(json.dumps(document).encode()) == OCI_MANIFEST
    for content_type in SUPPORTED_TYPES - {OCI_INDEX}:
        with pytest.raises(ManifestInvalid):
            _parse(document, content_type)


@pytest.mark.parametrize("subject", [{}, None, "x", 5, [], [{}], {"digest": ""},
                                     {"digest": None}, {"digest": 7}, {"digest": "sha256:x"},
                                     {"digest": f"blake3:{'a' * 64}"}])  # fmt: skip
def test_a_subject_without_a_digest_is_no_subject(subject: object) -> None:
    """Whatever value the field has."""
    assert _parse({**OCI_IMAGE, "subject": subject}).subject is None
    assert _parse({**OCI_LIST, "subject": subject}).subject is None


@pytest.mark.parametrize(
    "field", [{"size": -1}, {"size": None}, {"size": "x"}, {"mediaType": 7}, {"urls": 7}]
)
def test_a_subject_is_its_digest(field: Document) -> None:
    """The other fields of a subject are ignored."""
    subject = _parse({**OCI_IMAGE, "subject": {**OCI_IMAGE["subject"], **field}}).subject
    assert subject is not None
    assert subject.digest.hex == "d" * 64


def test_fields_that_older_registries_do_not_know_may_hold_anything() -> None:
    """artifactType, and the annotations of Docker's types; those of OCI's are strings or null."""
    assert _parse({**OCI_LIST, "artifactType": [7]}).artifact_type == ""
    for odd in (7, "x", [1], {"a": 1, "b": "c"}):
        expected = {"b": "c"} if isinstance(odd, dict) else {}
        assert _parse({**DOCKER_IMAGE, "annotations": odd}).annotations == expected
        with pytest.raises(ManifestInvalid, match="annotations"):
            _parse({**OCI_IMAGE, "annotations": odd})
    assert _parse({**OCI_IMAGE, "annotations": {"a": None}}).annotations == {"a": ""}


@pytest.mark.parametrize("size", [-1, -(2**63), 0, None, 2**63 - 1])
def test_a_size_may_be_unknown(size: int | None) -> None:
    """Clients that did not know the size wrote null or -1; an absent one is like null."""
    document = copy.deepcopy(OCI_IMAGE)
    document["layers"][1]["size"] = size
    assert _parse(document).blobs[2].size == (size or 0)
    del document["layers"][1]["size"]
    assert _parse(document).blobs[2].size == 0


@pytest.mark.parametrize("size", [2**63, -(2**63) - 1, 10**30, 10**50, 1.0, "7", True, [7]])
def test_a_size_is_a_whole_number(size: object) -> None:
    """Huge, fractional and otherwise invalid sizes are refused."""
    document = copy.deepcopy(OCI_IMAGE)
    document["layers"][1]["size"] = size
    with pytest.raises(ManifestInvalid, match=r"layers\[1\]\.size"):
        _parse(document)


@MANY
@given(document=JSON)
def test_any_json_is_a_manifest_or_invalid(document: object) -> None:
    """No JSON raises another exception."""
    _read(json.dumps(document).encode("utf-8", "surrogatepass"))


@MANY
@given(raw=st.binary(max_size=60))
def test_any_bytes_are_a_manifest_or_invalid(raw: bytes) -> None:
    """No bytes raise another exception."""
    _read(raw)


def _read(raw: bytes) -> Manifest | None:
    try:
        manifest = parse_manifest(raw)
    except ManifestInvalid as error:
        str(error).encode()
        return None
    assert manifest.raw == raw
    assert describe(manifest, Digest.of(raw)) is not None
    return manifest


def _places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path to every value within a document."""
    if at:
        yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*at, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _places(inner, (*at, number))


PLACES = [(kind, at) for kind, document in EXAMPLES.items() for at in _places(document)]


def _replaced(kind: str, at: tuple[str | int, ...], value: object) -> Document:
    document = copy.deepcopy(EXAMPLES[kind])
    inner: Any = document
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return document


@MANY
@given(place=st.sampled_from(PLACES), value=JSON)
def test_a_document_with_one_wrong_field_is_parsed_or_refused(
    place: tuple[str, tuple[str | int, ...]], value: object
) -> None:
    """Any value in any field gives a manifest with the right types, or ManifestInvalid."""
    manifest = _read(json.dumps(_replaced(*place, value)).encode())
    if manifest is not None:
        _assert_typed(manifest)


def _assert_typed(manifest: Manifest) -> None:
    subject = () if manifest.subject is None else (manifest.subject,)
    for one in (*manifest.blobs, *manifest.children, *subject):
        assert isinstance(one.digest, Digest)
        assert type(one.size) is int
        assert all(isinstance(url, str) for url in one.urls)
        assert isinstance(one.media_type, str)
        assert all(isinstance(text, str) for text in one.annotations.values())
    assert isinstance(manifest.artifact_type, str)
    assert all(isinstance(text, str) for text in manifest.annotations.values())


REQUIRED = [
    (kind, at)
    for kind, at in PLACES
    if at[0] != "subject"
    if at[-1] in {"digest", "schemaVersion"} or at == ("config",)
]


@pytest.mark.parametrize(("kind", "at"), REQUIRED)
def test_required_fields_must_be_present(kind: str, at: tuple[str | int, ...]) -> None:
    """Without a digest, a version or a config there is no manifest."""
    document = copy.deepcopy(EXAMPLES[kind])
    inner: Any = document
    for key in at[:-1]:
        inner = inner[key]
    del inner[at[-1]]
    with pytest.raises(ManifestInvalid):
        _parse(document)
