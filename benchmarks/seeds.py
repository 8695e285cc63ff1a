"""Writes the trees that scenarios start from."""

from collections.abc import Callable

from benchmarks.layout import Descriptor, Tree, describe, image_manifest
from benchmarks.material import Material
from benchmarks.stage import Plan

IMAGE = "library/image"
TAG = "v1"
TAGGED = "library/tagged"
SMALL_LAYERS = 5
APPS_PER_TEAM = 50

Prepare = Callable[[Tree, Material, Plan], None]
"""Write a root."""

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


def nothing(_tree: Tree, _material: Material, _plan: Plan) -> None:
    """Leave the root empty."""


def image(tree: Tree, material: Material, _plan: Plan) -> None:
    """One image: a configuration, a few small layers and the large one that is downloaded."""
    blobs = [tree.put_blob(content) for content in (CONFIG, *_small_layers())]
    tree.adopt_blob(material.served.file, material.served.blob)
    for blob in (*blobs, material.served.blob):
        tree.link_layer(IMAGE, blob)
    manifest = tree.put_blob(manifest_bytes(material))
    tree.link_manifest(IMAGE, manifest)
    tree.link_tag(IMAGE, TAG, manifest)


def manifest_bytes(material: Material) -> bytes:
    """Return the manifest of the image that `image` writes."""
    return _manifest(material.served.blob)


def tags(tree: Tree, _material: Material, plan: Plan) -> None:
    """One repository with many tags on the same image."""
    manifest = _small_image(tree, TAGGED)
    for tag in tag_names(plan):
        tree.link_tag(TAGGED, tag, manifest)


def tag_names(plan: Plan) -> list[str]:
    """Return the tags that `tags` writes, sorted."""
    return [f"v1.{number:05d}" for number in range(plan.tags)]


def repositories(tree: Tree, _material: Material, plan: Plan) -> None:
    """Many repositories with one tagged image each; they share its blobs."""
    for name in repository_names(plan):
        tree.link_tag(name, TAG, _small_image(tree, name))


def repository_names(plan: Plan) -> list[str]:
    """Return the repositories that `repositories` writes, sorted."""
    return [
        f"team-{number // APPS_PER_TEAM:03d}/app-{number % APPS_PER_TEAM:02d}"
        for number in range(plan.repositories)
    ]


def _small_image(tree: Tree, repository: str) -> Descriptor:
    """Make an untagged image a member of a repository and return its manifest's descriptor."""
    for content in (CONFIG, *_small_layers()[:1]):
        tree.link_layer(repository, tree.put_blob(content))
    manifest = tree.put_blob(_manifest())
    tree.link_manifest(repository, manifest)
    return manifest


def _small_layers() -> list[bytes]:
    return [f"layer {number}".encode() * 100 for number in range(SMALL_LAYERS)]


def _manifest(*large: Descriptor) -> bytes:
    layers = [describe(content) for content in _small_layers()]
    return image_manifest(describe(CONFIG), [*(layers if large else layers[:1]), *large])
