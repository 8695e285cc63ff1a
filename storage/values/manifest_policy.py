"""The operator's policy for pushed manifests, free of I/O.

It is `validation.manifests` of the configuration, with distribution's meaning, and the number of
references that `limits.manifests` allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from storage.errors import ManifestInvalid
from storage.values.manifests import (
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    is_http,
)
from storage.values.url_policy import ANY_URL, UrlPolicy

# The layer types whose URLs registry:2 and registry:3 check, by the type of the manifest.
_FETCHED = {
    DOCKER_MANIFEST: frozenset({"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}),
    OCI_MANIFEST: frozenset(
        {
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        }
    ),
}

# More than any image has. Each is looked up under the shared tree lock.
MOST_REFERENCES = 10_000


class IndexChildren(Enum):
    """Which children of an index must be in the repository."""

    ALL = "all"
    NONE = "none"
    LISTED = "list"


@dataclass(frozen=True, slots=True)
class ManifestPolicy:
    """`children` and `platforms` apply to indexes, `urls` to layers that have URLs.

    A manifest may refer to `most_references` blobs and manifests; 0 means no limit.
    """

    children: IndexChildren = IndexChildren.ALL
    platforms: frozenset[tuple[str, str]] = frozenset()
    urls: UrlPolicy = ANY_URL
    most_references: int = MOST_REFERENCES

    def required_blobs(self, manifest: Manifest) -> Iterator[Descriptor]:
        """Yield the blobs that must be in the repository: all but those fetched from URLs."""
        return (blob for blob in manifest.blobs if not blob.is_foreign)

    def required_manifests(self, manifest: Manifest) -> Iterator[Descriptor]:
        """Yield the children that must be in the repository; a subject need not be."""
        return (child for child in manifest.children if self._is_required(child.platform))

    async def check(self, manifest: Manifest) -> None:
        """Run the checks that need no lookup in the repository; raise `ManifestInvalid`.

        URLs are checked on a thread: expressions may take two seconds for one manifest.
        """
        self.check_count(manifest)
        if any(blob.urls for blob in manifest.blobs):
            await asyncio.to_thread(self.check_urls, manifest)

    def check_count(self, manifest: Manifest) -> None:
        """Raise `ManifestInvalid` for too many references; a repeated one counts each time."""
        subjects = int(manifest.subject is not None)
        count = len(manifest.blobs) + len(manifest.children) + subjects
        if 0 < self.most_references < count:
            raise ManifestInvalid(
                f"the manifest refers to {count} blobs and manifests, "
                f"this registry allows at most {self.most_references}"
            )

    def check_urls(self, manifest: Manifest) -> None:
        """Raise `ManifestInvalid` when a layer has a URL that the policy forbids."""
        self.urls.check_work([url for blob in manifest.blobs for url in blob.urls])
        fetched = _FETCHED.get(manifest.media_type, frozenset())
        for blob in manifest.blobs:
            is_fetched = blob.media_type in fetched
            for url in blob.urls:
                if not self._may_name(url, is_fetched=is_fetched):
                    raise ManifestInvalid(f"the URL {url[:200]!r} of {blob.digest} is not allowed")

    def _may_name(self, url: str, *, is_fetched: bool) -> bool:
        """Return whether a blob may have `url`.

        URLs other than HTTP are refused only for layers that clients fetch from their URLs.
        """
        if not is_http(url):
            return not is_fetched
        return not (is_fetched and "#" in url) and self.urls.permits(url)

    def _is_required(self, platform: Platform | None) -> bool:
        if self.children is IndexChildren.LISTED:
            return platform is None or (platform.os, platform.architecture) in self.platforms
        return self.children is IndexChildren.ALL
