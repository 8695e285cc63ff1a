"""The domain's errors, carrying facts and never a status code.

StorageError
├── InvalidInput            the caller's words do not follow the spec's grammar
│   ├── NameInvalid
│   ├── TagInvalid
│   ├── DigestInvalid       malformed, of an unsupported algorithm, or not what the bytes hash to
│   ├── UploadIdInvalid
│   └── ManifestInvalid
├── Unknown                 well-formed, and not here
│   ├── RepositoryUnknown
│   ├── BlobUnknown
│   ├── ManifestUnknown     by digest or by tag
│   ├── ReferencesUnknown   a manifest names content its repository does not hold
│   └── UploadUnknown
├── UploadConflict          the session and the request disagree
│   ├── ChunkOutOfOrder
│   ├── ChunkSizeMismatch
│   └── UploadBusy          another request is writing to the session
├── OperationDisabled       the configuration forbids it
├── QuotaExceeded           the repository may not hold so much
├── TooManyUploads          the repository may not have so many sessions
├── TagImmutable            the caller may set a tag that is new, and move none
├── AlreadyRunning          another process does what only one may do at a time
├── NotOurs                 another user's file is in the way: an OSError, as it is the system's
└── PathNotFound            a driver's: no such path
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from storage.sizes import format_size

if TYPE_CHECKING:
    from storage.digest import Digest
    from storage.names import Tag

# The system's errors for a disk, or a user's quota, that has no room for more.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Those for a lack of descriptors or memory. They say nothing of the file that was to be read.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class StorageError(Exception):
    """Everything this package raises on purpose."""


class PathNotFound(StorageError):
    """A driver holds nothing at this path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"nothing is stored at {path}")
        self.path = path


class InvalidInput(StorageError):
    """A value that does not follow the spec's grammar."""


class NameInvalid(InvalidInput):
    """Not a repository name."""


class TagInvalid(InvalidInput):
    """Not a tag."""


class DigestInvalid(InvalidInput):
    """Not a digest, not a supported one, or not the digest of the bytes it came with."""


class UploadIdInvalid(InvalidInput):
    """Not the identifier of an upload session."""


class ManifestInvalid(InvalidInput):
    """Not a manifest of a supported type, or one whose fields contradict each other."""


class Unknown(StorageError):
    """Well-formed, and not here."""


class RepositoryUnknown(Unknown):
    """No such repository."""

    def __init__(self, name: str) -> None:
        super().__init__(f"repository {name} is not known to this registry")
        self.name = name


class BlobUnknown(Unknown):
    """The repository has no such blob."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(f"blob {digest} is not known to this repository")
        self.digest = digest


class ManifestUnknown(Unknown):
    """The repository has no such manifest; `reference` is the tag or digest asked for."""

    def __init__(self, reference: object, reason: str | None = None) -> None:
        super().__init__(reason or f"manifest {reference} is not known to this repository")
        self.reference = reference


class ReferencesUnknown(Unknown):
    """A manifest refers to content that its repository does not hold: `missing`, in order."""

    def __init__(self, missing: tuple[Digest, ...]) -> None:
        super().__init__(f"{len(missing)} referenced blobs or manifests are not in the repository")
        self.missing = missing


class UploadUnknown(Unknown):
    """The repository has no such upload session."""

    def __init__(self, upload: object) -> None:
        super().__init__(f"upload {upload} is not known to this repository")


class UploadConflict(StorageError):
    """The session and the request disagree; `held` is the number of bytes the session holds."""

    def __init__(self, message: str, held: int) -> None:
        super().__init__(message)
        self.held = held


class ChunkOutOfOrder(UploadConflict):
    """A chunk does not begin where the session ends."""

    def __init__(self, start: int, held: int) -> None:
        super().__init__(f"the chunk starts at {start}, the upload holds {held} bytes", held)


class ChunkSizeMismatch(UploadConflict):
    """A chunk's body is not as long as it was declared to be; none of it was kept."""

    def __init__(self, declared: int, received: int, held: int) -> None:
        super().__init__(f"the chunk declares {declared} bytes, {received} arrived", held)


class UploadBusy(UploadConflict):
    """Another request is writing to this session right now."""

    def __init__(self, held: int) -> None:
        super().__init__("another request is writing to this upload", held)


class QuotaExceeded(StorageError):
    """`name` may hold `most` bytes, holds `held`, and was to hold `more`."""

    def __init__(self, name: str, most: int, held: int, more: int) -> None:
        allowed, there, wanted = map(format_size, (most, held, more))
        # Whoever pushes reads this in their terminal.
        super().__init__(
            f"repository {name} may hold {allowed} and holds {there}: another {wanted} do not fit"
        )
        self.name = name
        self.most = most
        self.held = held
        self.more = more


class TooManyUploads(StorageError):
    """`name` may have `most` upload sessions, and has them."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(
            f"repository {name} may have {most} uploads in progress, and has them; one that nobody "
            "goes on with ends after a while"
        )
        self.name = name
        self.most = most


class TagImmutable(StorageError):
    """`tag` leads to another manifest, and the caller may not move tags."""

    def __init__(self, tag: Tag) -> None:
        super().__init__(f"the tag {tag} exists and may not be moved")
        self.tag = tag


class AlreadyRunning(StorageError):
    """Another process does what only one may do at a time: `what`."""

    def __init__(self, what: str) -> None:
        super().__init__(f"another {what} is running on this storage")
        self.what = what


class NotOurs(StorageError, PermissionError):
    """What lies at `path`, below `root`, belongs to another user than the number `user`."""

    def __init__(self, path: str, user: int, root: str) -> None:
        super().__init__(
            f"{path} can't be written to by the user {user}, who runs this; "
            f"give it all there is: chown -R {user} {root}"
        )
        self.path = path


class OperationDisabled(StorageError):
    """The registry is configured not to do this: `what` is "deleting" or "writing"."""

    _REASONS: ClassVar[Mapping[str, str]] = {
        "deleting": "deleting is disabled in this registry's configuration",
        # `docker push` prints this.
        "writing": "the registry is read-only, for maintenance or because its volume is: pushing "
        "and deleting are disabled, pulling goes on",
    }

    def __init__(self, what: str) -> None:
        super().__init__(self._REASONS[what])
        self.what = what


def raise_if_exhausted(error: OSError) -> None:
    """Raise `error` if a call failed for lack of descriptors or memory, and not at the disk."""
    if error.errno in EXHAUSTED:
        raise error


def reason_of(error: OSError) -> str:
    """Return what the system says of an error, without its number and the path."""
    return error.strerror or str(error)
