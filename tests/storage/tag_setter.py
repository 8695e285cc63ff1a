"""A worker process that sets immutable tags as standard input tells it.

    python -m tests.storage.tag_setter ROOT NUMBER

Pushes a manifest that no other worker pushes. Each line is a tag, and is answered by `set` or
`refused` once that is decided.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.errors import TagImmutable
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.manifests import parse_manifest
from storage.values.names import Tag
from tests.storage.content import APP, image, raw


def document(number: int) -> bytes:
    """Return the manifest that a worker pushes."""
    return raw(image(annotations={"worker": str(number)}))


async def main(root: Path, number: int) -> None:
    """Answer each line."""
    driver = FilesystemDriver(root, sync=False, threads=1)
    manifests = StoredRegistry(driver).repository(APP, moves_tags=False).manifests
    content = document(number)
    manifest, digest = parse_manifest(content), Digest.of(content)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                await manifests.put(manifest, digest, (Tag(line.strip()),))
            except TagImmutable:
                print("refused", flush=True)
            else:
                print("set", flush=True)
    finally:
        await driver.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
