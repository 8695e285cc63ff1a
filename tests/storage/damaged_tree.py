"""A tree with every kind of damage that older registries, crashes and operators leave.

`damaged_tree` writes it below a folder, with an intact image. Each kind of damage has its own
repository. The expected findings of a scrub, and of a second one after a repair, are recorded
beside the damage. The links of the intact image are CNCF distribution's, byte for byte.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.maintenance.scrub.findings import Kind
from storage.values import paths
from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag
from tests.storage.content import CONFIG, LAYER, entry, image, index, name, raw

SOUND = name("sound/image")
TAG = Tag("v1")
IMAGE = raw(image())
GONE = Digest.of(b"bytes that are gone")
HOURS_AGO = 7200

# The part of a finding that tests expect: its kind and path.
Foreseen = tuple[Kind, str]


@dataclass(slots=True)
class DamagedTree:
    """The tree below `root`; `found` by a first scrub, and `left` after one that repairs."""

    root: Path
    found: set[Foreseen] = field(default_factory=set)
    left: set[Foreseen] = field(default_factory=set)

    def put(self, path: str, content: bytes) -> str:
        """Write a file; return its path."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(content)
        return path

    def blob(self, content: bytes, algorithm: str = "sha256") -> Digest:
        """Store a blob."""
        digest = Digest.of(content, algorithm)
        self.put(paths.blob(digest), content)
        return digest

    def layer(self, name: RepositoryName, digest: Digest, link: bytes | None = None) -> str:
        """Link a blob, correctly or not."""
        return self.put(paths.layer_link(name, digest), _link(digest) if link is None else link)

    def manifest(self, name: RepositoryName, content: bytes, link: bytes | None = None) -> Digest:
        """Store and link a manifest."""
        digest = self.blob(content)
        self.put(paths.revision_link(name, digest), _link(digest) if link is None else link)
        return digest

    def image(self, name: RepositoryName, **more: Any) -> Digest:
        """Store an image, different for different `more`, with its blobs."""
        for content in (CONFIG, LAYER):
            self.layer(name, self.blob(content))
        return self.manifest(name, raw(image(**more)))

    def tag(self, name: RepositoryName, text: str, *history: Digest) -> str:
        """Set a tag to the last of its history; return the path of its link."""
        for digest in history:
            self.put(paths.tag_index_link(name, Tag(text), digest), _link(digest))
        return self.put(paths.tag_current_link(name, Tag(text)), _link(history[-1]))

    def expect(self, kind: Kind, path: str, *, stays: bool = False) -> None:
        """Expect a finding; `left` says whether it stays after a repair."""
        self.found.add((kind, path))
        if stays:
            self.left.add((kind, path))

    def foreign(self, path: str, content: bytes = b"somebody's") -> None:
        """Put something where no registry would."""
        self.expect(Kind.FOREIGN, self.put(path, content), stays=True)

    def loop(self, path: str) -> None:
        """Create a symbolic link to itself."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).symlink_to(os.path.basename(path))


def damaged_tree(root: Path) -> DamagedTree:
    """Write the tree below `root`, an existing empty folder."""
    tree = DamagedTree(root)
    digest = tree.image(SOUND)
    tree.tag(SOUND, TAG.text, digest)
    for damage in (_blobs, _layers, _revisions, _references, _tags, _histories, _referrers):
        damage(tree)
    _foreign(tree)
    _loops(tree)
    return tree


def sound_content() -> Mapping[Digest, bytes]:
    """Return the blobs of the intact image."""
    return {Digest.of(content): content for content in (CONFIG, LAYER)}


def _link(digest: Digest) -> bytes:
    return str(digest).encode()


def _blobs(tree: DamagedTree) -> None:
    """Blobs whose bytes do not match their folder."""
    corrupt = Digest.of(b"what was pushed")
    for digest, content in (
        (corrupt, b"what is there!!"),
        (Digest.of(b"longer than what is there"), b"longer than"),
        (Digest.of(b"cut to nothing"), b""),
        (Digest.of(b"right", "sha512"), b"wrong"),
    ):
        tree.expect(Kind.CORRUPT_BLOB, tree.put(paths.blob(digest), content))
    folder = paths.blob(Digest.of(b"a folder in place of bytes"))
    tree.put(f"{folder}/somebody's", b"file")
    tree.expect(Kind.CORRUPT_BLOB, folder)
    loop = paths.blob(Digest.of(b"a loop in place of bytes"))
    tree.loop(loop)
    tree.expect(Kind.CORRUPT_BLOB, loop)
    for algorithm in ("sha256", "sha512"):
        tree.blob(b"", algorithm)
    tree.blob(b"sound", "sha512")
    # A folder that a crash left without its file is no damage.
    (tree.root / paths.blob(Digest.of(b"never came"))).parent.mkdir(parents=True)
    # Links to corrupt bytes are reported as well.
    links = name("damaged/corrupt")
    tree.expect(Kind.DEAD_LINK, tree.layer(links, corrupt))


def _layers(tree: DamagedTree) -> None:
    """Links of blobs."""
    layers = name("damaged/layers")
    there = [tree.blob(b"layer %d" % number) for number in range(8)]
    for digest, content in (
        (there[0], b""),
        (there[1], _link(there[1])[:40]),
        (there[2], _link(there[0])),
        (there[3], b"\0" * 71),
        (Digest.of(b"gone, and its link is empty"), b""),
        (Digest.of(b"gone, and its link is cut"), b"sha256:"),
    ):
        tree.expect(Kind.DAMAGED_LINK, tree.layer(layers, digest, content))
    tree.expect(Kind.UNTIDY_LINK, tree.layer(layers, there[4], _link(there[4]) + b"\n"))
    tree.expect(Kind.ORPHANED_LINK, tree.layer(layers, GONE))
    folder = paths.layer_link(layers, there[5])
    tree.put(f"{folder}/somebody's", b"file")
    tree.expect(Kind.DAMAGED_LINK, folder)
    # distribution stores a sha512 push like this, and leaves a folder of a deleted blob.
    tree.layer(layers, Digest.of(b"layer 6", "sha512"), _link(there[6]))
    (tree.root / paths.layer_link(layers, there[7])).parent.mkdir()


def _revisions(tree: DamagedTree) -> None:
    """Links of manifests, and their targets."""
    revisions = name("damaged/revisions")
    healed = tree.image(revisions, annotations={"link": "empty"})
    tree.expect(Kind.DAMAGED_LINK, tree.put(paths.revision_link(revisions, healed), b""))
    tree.expect(Kind.DEAD_TAG, tree.tag(revisions, "healed", healed))
    another = tree.image(revisions, annotations={"link": "names another"})
    wrong = tree.put(paths.revision_link(revisions, another), _link(healed))
    tree.expect(Kind.DAMAGED_LINK, wrong)
    cut = Digest.of(b"gone, and the link is cut")
    tree.expect(Kind.DAMAGED_LINK, tree.put(paths.revision_link(revisions, cut), b"sha2"))
    tree.expect(Kind.DEAD_LINK, tree.put(paths.revision_link(revisions, GONE), _link(GONE)))
    corrupt = tree.image(revisions, annotations={"bytes": "corrupt"})
    tree.expect(Kind.CORRUPT_BLOB, tree.put(paths.blob(corrupt), b"no longer a manifest"))
    tree.expect(Kind.DEAD_LINK, paths.revision_link(revisions, corrupt))
    tree.tag(revisions, "corrupt", corrupt)
    other = tree.manifest(revisions, b"bytes that never were a manifest")
    tree.expect(Kind.BAD_MANIFEST, paths.revision_link(revisions, other), stays=True)
    old = b'{"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []}'
    path = paths.revision_link(revisions, tree.manifest(revisions, old))
    tree.expect(Kind.UNCHECKED_MANIFEST, path, stays=True)
    signature = f"{path.rpartition('/')[0]}/signatures/sha256/{GONE.hex}/link"
    tree.put(signature, _link(GONE))


def _references(tree: DamagedTree) -> None:
    """Manifests with missing references."""
    names = name("damaged/references")
    tree.layer(names, tree.blob(CONFIG))
    lacking = tree.manifest(names, raw(image([b"a layer that is gone"])))
    tree.expect(Kind.MISSING_BLOB, paths.revision_link(names, lacking), stays=True)
    sparse = tree.manifest(names, raw(index([b"a child that is gone"])))
    tree.expect(Kind.MISSING_CHILD, paths.revision_link(names, sparse), stays=True)
    foreign_type = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    foreign = {**entry(b"fetched elsewhere", foreign_type), "urls": ["https://example.com/layer"]}
    tree.manifest(names, raw({**image([]), "layers": [foreign]}))
    tree.manifest(names, raw(image([], subject=entry(b"a subject that never came"))))
    subject = Digest.of(b"a subject that never came")
    referrer = Digest.of(raw(image([], subject=entry(b"a subject that never came"))))
    tree.put(paths.referrer_link(names, subject, referrer), _link(referrer))


def _tags(tree: DamagedTree) -> None:
    """Tags whose link is damaged, or dangles."""
    tags = name("damaged/tags")
    one, two = (tree.image(tags, annotations={"number": text}) for text in "12")
    for text, history, stays in (("certain", [one], False), ("doubtful", [one, two], True)):
        path = tree.tag(tags, text, *history)
        tree.put(path, b"")
        tree.expect(Kind.DAMAGED_LINK, path, stays=stays)
    path = paths.tag_current_link(tags, Tag("without-current"))
    tree.put(paths.tag_index_link(tags, Tag("without-current"), one), _link(one))
    tree.expect(Kind.DAMAGED_LINK, path)
    tree.expect(Kind.DEAD_TAG, tree.tag(tags, "dead", GONE))
    hopeless = paths.tag_current_link(tags, Tag("hopeless"))
    tree.expect(Kind.DEAD_TAG, tree.put(hopeless, b"sha256:0"))
    (tree.root / paths.tag(tags, Tag("empty"))).mkdir()
    tree.expect(Kind.DEAD_TAG, paths.tag_current_link(tags, Tag("empty")))
    edited = tree.tag(tags, "edited", two)
    tree.expect(Kind.UNTIDY_LINK, tree.put(edited, _link(two) + b"\r\n"))
    kept = tree.tag(tags, "dead-with-a-file", GONE)
    tree.put(f"{paths.tags(tags)}/dead-with-a-file/notes.txt", b"somebody's")
    tree.expect(Kind.DEAD_TAG, kept, stays=True)
    for stray in ("-no-tag/current/link", "a-file-in-place-of-a-tag"):
        tree.put(f"{paths.tags(tags)}/{stray}", _link(one))
        stray_path = f"{paths.tags(tags)}/{stray.partition('/')[0]}"
        tree.expect(Kind.FOREIGN, stray_path, stays=True)


def _histories(tree: DamagedTree) -> None:
    """Histories of intact tags."""
    names = name("damaged/histories")
    digest = tree.image(names)
    tree.tag(names, "v1", GONE, digest)
    tree.expect(Kind.STALE_HISTORY, paths.tag_index_link(names, Tag("v1"), GONE))
    path = tree.put(paths.tag_index_link(names, Tag("v1"), digest), b"")
    tree.expect(Kind.DAMAGED_LINK, path)
    (tree.root / paths.tags(names) / "v1/index/sha256" / Digest.of(b"an empty one").hex).mkdir()


def _referrers(tree: DamagedTree) -> None:
    """The referrers index, which only this registry has."""
    names = name("damaged/referrers")
    subject = tree.image(names)
    described = entry(raw(image()))
    unlisted, damaged = (
        tree.image(names, subject=described, annotations={"number": text}) for text in "12"
    )
    tree.expect(Kind.UNLISTED_REFERRER, paths.referrer_link(names, subject, unlisted))
    link = tree.put(paths.referrer_link(names, subject, damaged), b"")
    tree.expect(Kind.DAMAGED_LINK, link)
    for of, referrer in ((subject, GONE), (GONE, unlisted), (subject, subject)):
        stale = tree.put(paths.referrer_link(names, of, referrer), _link(referrer))
        tree.expect(Kind.STALE_REFERRER, stale)
        note = tree.put(paths.referrer_descriptor(names, of, referrer), b"not even JSON")
        tree.expect(Kind.STALE_REFERRER, note)
    wrong = tree.put(paths.referrer_descriptor(names, subject, damaged), b"{}")
    tree.expect(Kind.STALE_REFERRER, wrong)
    tree.put(paths.referrers_scanned(names), b"not even JSON")


def _foreign(tree: DamagedTree) -> None:
    """Foreign files and folders, at every level."""
    names = name("damaged/foreign")
    layer = tree.blob(LAYER)
    tree.layer(names, layer)
    digest = tree.image(names)
    tree.tag(names, "v1", digest)
    repository, revision = paths.repository(names), paths.revision_link(names, digest)
    for path in (
        "docker/notes.txt",
        "docker/registry/notes.txt",
        f"{paths.ROOT}/notes.txt",
        f"{paths.BLOBS}/notes.txt",
        f"{paths.BLOBS}/sha256/notes.txt",
        f"{paths.BLOBS}/sha256/{layer.hex[:2]}/notes.txt",
        f"{paths.blob(layer)}.bak",
        f"{paths.REPOSITORIES}/notes.txt",
        f"{repository}/a-file-in-place-of-a-repository",
        f"{repository}/_layers/notes.txt",
        f"{repository}/_layers/sha256/notes.txt",
        f"{paths.layer_link(names, layer)}~",
        f"{repository}/_manifests/notes.txt",
        f"{repository}/_manifests/revisions/sha256/{'0' * 63}",
        f"{revision}.orig",
        f"{repository}/_manifests/tags/v1/notes.txt",
        f"{repository}/_manifests/tags/v1/current/notes.txt",
        f"{repository}/_manifests/tags/v1/index/notes.txt",
        f"{repository}/_referrers/notes.txt",
        f"{repository}/_uploads/notes.txt",
        f"{paths.REPOSITORIES}/damaged/flat/_layers",
    ):
        tree.foreign(path)
    for folder in _foreign_folders(names, layer):
        tree.put(f"{folder}/data", b"foreign")
        tree.expect(Kind.FOREIGN, folder, stays=True)
    cut_off = tree.put(f"{paths.layers(names)}/sha256/{layer.hex}/.tmp-{'0' * 32}", b"cut off")
    os.utime(tree.root / cut_off, (time.time() - HOURS_AGO,) * 2)
    tree.expect(Kind.LEFTOVER, cut_off, stays=True)
    tag = f"{repository}/_manifests/tags/.tmp-{'0' * 32}"
    tree.put(f"{tag}/current/link", b"cut off")
    os.utime(tree.root / tag, (time.time() - HOURS_AGO,) * 2)
    tree.expect(Kind.LEFTOVER, tag, stays=True)
    # This one may still be being written.
    tree.put(f"{paths.layers(names)}/sha256/{layer.hex}/.tmp-{'1' * 32}", b"under way")


def _foreign_folders(names: RepositoryName, layer: Digest) -> tuple[str, ...]:
    repository = paths.repository(names)
    return (
        f"{paths.BLOBS}/md5",
        f"{paths.BLOBS}/sha256/AB",
        f"{paths.BLOBS}/sha256/{layer.hex[:2]}/{layer.hex.upper()}",
        f"{paths.BLOBS}/sha256/{layer.hex[:2]}/{'f' * 64}"[:-1],
        f"{paths.REPOSITORIES}/Uppercase",
        f"{repository}/_backup",
        f"{repository}/_layers/sha384",
        f"{repository}/_layers/sha256/{layer.hex.upper()}",
        f"{paths.REPOSITORIES}/{os.fsdecode(bytes([0xFF, 0xFE, 0x0A]))}",
        f"{repository}/_manifests/tags/{os.fsdecode(bytes([0xE9]))}",
    )


def _loops(tree: DamagedTree) -> None:
    """Symbolic links to themselves, or to a parent."""
    names = name("damaged/loops")
    digest = tree.image(names)
    tree.tag(names, "v1", digest)
    repository = paths.repository(names)
    for path in (
        f"{repository}/itself",
        f"{paths.layers(names)}/sha256/loop",
        f"{paths.tags(names)}/loop",
        f"{paths.BLOBS}/sha256/loop",
    ):
        tree.loop(path)
        tree.expect(Kind.FOREIGN, path, stays=True)
    up = tree.root / paths.REPOSITORIES / "loops"
    up.mkdir()
    (up / "up").symlink_to(".")
    tree.expect(Kind.FOREIGN, f"{paths.REPOSITORIES}/loops/up", stays=True)
