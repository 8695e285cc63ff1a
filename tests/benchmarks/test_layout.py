"""The trees that are written without a server."""

import hashlib
import io
from pathlib import Path

from benchmarks.layout import Tree
from benchmarks.material import (
    DOCKER_CHUNK_BYTES,
    PIECE_BYTES,
    repeated,
    write_chunked,
    write_random,
)


def files(root: Path) -> dict[str, bytes]:
    """Return every file below the root by its path."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_a_tagged_manifest_is_written_as_distribution_writes_it(tmp_path: Path) -> None:
    tree, content = Tree(tmp_path), b"{}"
    hexdigest = hashlib.sha256(content).hexdigest()
    blob = tree.put_blob(content)
    tree.link_layer("a/b", blob)
    tree.link_manifest("a/b", blob)
    tree.link_tag("a/b", "v1", blob)
    repository, link = "docker/registry/v2/repositories/a/b", f"sha256:{hexdigest}".encode()
    assert files(tmp_path) == {
        f"docker/registry/v2/blobs/sha256/{hexdigest[:2]}/{hexdigest}/data": content,
        f"{repository}/_layers/sha256/{hexdigest}/link": link,
        f"{repository}/_manifests/revisions/sha256/{hexdigest}/link": link,
        f"{repository}/_manifests/tags/v1/current/link": link,
        f"{repository}/_manifests/tags/v1/index/sha256/{hexdigest}/link": link,
    }


def test_repeated_content_is_named_by_the_digest_of_all_its_bytes(tmp_path: Path) -> None:
    content = repeated(3)
    body = content.write(tmp_path / "body")
    written = body.file.read_bytes()
    assert written == content.piece * 3
    assert (content.count, content.blob.size) == (3, 3 * PIECE_BYTES)
    assert body.blob.digest == f"sha256:{hashlib.sha256(written).hexdigest()}"


def test_the_chunked_form_decodes_to_the_body(tmp_path: Path) -> None:
    whole = PIECE_BYTES // DOCKER_CHUNK_BYTES + 1
    body = write_random(tmp_path / "body", whole * DOCKER_CHUNK_BYTES + 5)
    wire = io.BytesIO(write_chunked(body.file, tmp_path / "chunked").read_bytes())
    decoded = []
    while size := int(wire.readline(), 16):
        decoded.append(wire.read(size))
        assert wire.read(2) == b"\r\n"
    assert wire.read() == b"\r\n"
    assert [len(piece) for piece in decoded] == [*[DOCKER_CHUNK_BYTES] * whole, 5]
    assert f"sha256:{hashlib.sha256(b''.join(decoded)).hexdigest()}" == body.blob.digest
