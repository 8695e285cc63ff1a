"""The operator's policy decides which content a manifest requires."""

from __future__ import annotations

import json

import pytest

from registry_server.config.expression import Expression
from storage.errors import ManifestInvalid
from storage.values.manifest_policy import IndexChildren, ManifestPolicy
from storage.values.manifests import Manifest, parse_manifest
from storage.values.url_policy import Matcher, UrlPolicy
from tests.storage.documents import DOCKER_INDEX, OCI_IMAGE, WINDOWS_IMAGE, Document


def _manifest(document: Document) -> Manifest:
    return parse_manifest(json.dumps(document).encode())


def test_a_subject_and_foreign_layers_are_not_required() -> None:
    """Config and layers are; layers fetched from URLs and the subject are not."""
    rules = ManifestPolicy()
    required = [one.digest.hex[0] for one in rules.required_blobs(_manifest(WINDOWS_IMAGE))]
    assert required == ["a", "c"]
    required = [one.digest.hex[0] for one in rules.required_blobs(_manifest(OCI_IMAGE))]
    assert required == ["a", "b", "c"]
    assert list(rules.required_manifests(_manifest(OCI_IMAGE))) == []


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (ManifestPolicy(), "abc"),
        (ManifestPolicy(IndexChildren.NONE), ""),
        (ManifestPolicy(IndexChildren.LISTED, frozenset({("linux", "arm")})), "b"),
        (ManifestPolicy(IndexChildren.LISTED), ""),
    ],
)
def test_required_children(rules: ManifestPolicy, expected: str) -> None:
    """All of an index's children, none, or those of listed platforms."""
    children = rules.required_manifests(_manifest(DOCKER_INDEX))
    assert "".join(one.digest.hex[0] for one in children) == expected


def test_a_child_without_a_platform_is_always_required_when_platforms_are_listed() -> None:
    """The operator cannot have left it out by its platform."""
    document = {**DOCKER_INDEX, "manifests": [{**DOCKER_INDEX["manifests"][0], "platform": None}]}
    rules = ManifestPolicy(IndexChildren.LISTED, frozenset({("linux", "arm")}))
    assert len(list(rules.required_manifests(_manifest(document)))) == 1


def _compiled(text: str) -> tuple[Matcher, ...]:
    return (Expression.parse(text).compiled(),) if text else ()


def _with_url(url: str) -> Manifest:
    layers = [{**WINDOWS_IMAGE["layers"][0], "urls": [url]}]
    return _manifest({**WINDOWS_IMAGE, "layers": layers})


@pytest.mark.parametrize(
    ("url", "allowed", "denied", "passes"),
    [
        ("https://example.com/x", "", "", True),
        ("http://example.com/x", "", "", True),
        ("https://example.com/x#y", "", "", False),
        ("ftp://example.com/x", "", "", False),
        ("", "", "", False),
        ("javascript:alert(1)", "", "", False),
        ("https://example.com/x", r"^https://example\.com/", "", True),
        ("http://example.com/x", r"^https://example\.com/", "", False),
        ("https://example.com/x", r"example", r"/x$", False),
        ("https://example.com/y", r"example", r"/x$", True),
    ],
)
def test_urls_must_be_allowed_and_not_denied(
    url: str, allowed: str, denied: str, passes: bool
) -> None:
    """A URL is HTTP without a fragment, on the list if there is one, and not on the other."""
    rules = ManifestPolicy(urls=UrlPolicy(_compiled(allowed), _compiled(denied)))
    if passes:
        rules.check_urls(_with_url(url))
    else:
        with pytest.raises(ManifestInvalid, match="URL"):
            rules.check_urls(_with_url(url))


@pytest.mark.parametrize("url", ["", "ftp://example.com/x", "x", "%zz", "http://example.com/#y"])
@pytest.mark.parametrize(
    ("media_type", "is_fetched"),
    [
        ("application/vnd.oci.image.layer.v1.tar", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.v1.tar+zstd", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", False),
        ("application/octet-stream", False),
        ("", False),
    ],
)
async def test_odd_urls_are_refused_where_registry_2_checks_them(
    media_type: str, is_fetched: bool, url: str
) -> None:
    """Elsewhere they are kept, but no client can fetch a layer from them: it is required."""
    layer = {**OCI_IMAGE["layers"][0], "mediaType": media_type, "urls": [url]}
    manifest = _manifest({**OCI_IMAGE, "layers": [layer]})
    if is_fetched:
        with pytest.raises(ManifestInvalid, match="URL"):
            await ManifestPolicy().check(manifest)
        return
    await ManifestPolicy().check(manifest)
    required = list(ManifestPolicy().required_blobs(manifest))
    assert (manifest.blobs[1] in required) == ("foreign" not in media_type or "#" not in url)


async def test_denied_urls_are_denied_for_every_layer() -> None:
    """Whatever the type of the layer."""
    layer = {**OCI_IMAGE["layers"][1], "urls": ["", "http://example.com/x"]}
    manifest = _manifest({**OCI_IMAGE, "layers": [layer]})
    await ManifestPolicy().check(manifest)
    with pytest.raises(ManifestInvalid, match="URL"):
        await ManifestPolicy(urls=UrlPolicy(deny=_compiled("example"))).check(manifest)


@pytest.mark.parametrize("document", [OCI_IMAGE, DOCKER_INDEX])
async def test_the_number_of_references_is_limited(document: Document) -> None:
    """Each reference counts, the subject as well; zero means no limit."""
    manifest = _manifest(document)
    count = len(manifest.blobs) + len(manifest.children) + (manifest.subject is not None)
    assert count > 1
    for most in (0, count, count + 1):
        await ManifestPolicy(most_references=most).check(manifest)
    with pytest.raises(ManifestInvalid, match=f"refers to {count} .* at most {count - 1}$"):
        await ManifestPolicy(most_references=count - 1).check(manifest)
