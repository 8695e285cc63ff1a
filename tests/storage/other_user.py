"""Runs a registry as another user than the owner of the tree.

    python -m tests.storage.other_user USER ROOT WORK

Does one of `WORKS`, and prints `done`, or the class and message of the error.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from storage.drivers.filesystem.driver import FilesystemDriver
from storage.repository.registry import StoredRegistry
from storage.values.digest import Digest
from storage.values.names import Tag
from tests.storage.content import APP, LAYER, OTHER, image, push_manifest
from tests.storage.promises import Work

DOCUMENT = image(annotations={"pushed by": "another user"})

WORKS: Mapping[str, Work] = {
    "head": lambda registry: registry.repository(APP).blobs.size(Digest.of(LAYER)),
    "mount": lambda registry: registry.repository(OTHER).blobs.mount(Digest.of(LAYER), APP),
    "push": lambda registry: push_manifest(registry.repository(APP), DOCUMENT, "v2"),
    "untag": lambda registry: registry.repository(APP).tags.delete(Tag("v1")),
    "delete": lambda registry: registry.repository(APP).blobs.delete(Digest.of(LAYER)),
}


async def main(root: Path, work: Work) -> str:
    """Do the work; return what is printed."""
    driver = FilesystemDriver(root, threads=1)
    try:
        # Nothing was touched so lately that it need not be touched again.
        await work(StoredRegistry(driver, grace=0.0))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await driver.close()
    return "done"


if __name__ == "__main__":
    os.setgroups([])
    os.setegid(int(sys.argv[1]))
    os.seteuid(int(sys.argv[1]))
    print(asyncio.run(main(Path(sys.argv[2]), WORKS[sys.argv[3]])))
