"""Push with docker-registry-client-async: a blob in one chunk, and in a chunk and an end."""

import asyncio
import sys
from pathlib import Path

from docker_registry_client_async import (
    DockerRegistryClientAsync,
    FormattedSHA256,
    ImageName,
    Manifest,
)


async def push(address: str, repository: str, folder: Path) -> None:
    """Push the image in the folder."""
    image = ImageName(repository, endpoint=address, tag="v1")
    async with DockerRegistryClientAsync() as client:
        for name in ("layer", "config"):
            content = (folder / name).read_bytes()
            begun = await client.post_blob(image, protocol="http")
            half = len(content) // 2
            patched = await client.patch_blob_upload(begun.location, content[:half])
            digest = FormattedSHA256.calculate(content)
            await client.put_blob_upload(patched.location, digest, data=content[half:])
        manifest = Manifest((folder / "manifest").read_bytes())
        await client.put_manifest(image, manifest, protocol="http")


asyncio.run(push(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
