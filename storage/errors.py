"""The storage's exceptions: they carry facts, never a status code.

StorageError
├── InvalidInput            the input does not follow the spec's grammar
│   ├── NameInvalid
│   ├── TagInvalid
│   ├── DigestInvalid       malformed, of an unsupported algorithm, or not what the bytes hash to
│   ├── UploadIdInvalid
│   └── ManifestInvalid
├── Unknown                 well-formed, but missing
│   ├── RepositoryUnknown
│   ├── BlobUnknown
│   ├── ManifestUnknown     by digest or by tag
│   ├── ReferencesUnknown   a manifest refers to content that its repository lacks
│   └── UploadUnknown
├── UploadConflict          the request does not match the state of the session
│   ├── ChunkOutOfOrder
│   ├── ChunkSizeMismatch
│   └── UploadBusy          another request is writing to the session
├── OperationDisabled       the configuration forbids it
├── QuotaExceeded           the repository would exceed its size limit
├── TooManyUploads          the repository has reached its limit of upload sessions
├── TagImmutable            the caller may create tags, but not move them
├── AlreadyRunning          another process runs a job that only one may run at a time
├── WrongOwner              a file belongs to another user: an OSError too
└── PathNotFound            raised by drivers: no such path
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import ClassVar

from storage.values.sizes import format_size

# The disk, or the user's disk quota, is full.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# The process is out of descriptors or memory. These errors say nothing about the file.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class StorageError(Exception):
    """Base of all errors that this package raises deliberately."""

    @property
    def detail(self) -> Mapping[str, str] | None:
        """The facts that a client can process, by name."""
        return None


class PathNotFound(StorageError):
    """A driver has nothing at this path."""

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
    """Well-formed, but missing."""


class RepositoryUnknown(Unknown):
    """No such repository."""

    def __init__(self, name: str) -> None:
        super().__init__(f"repository {name} is not known to this registry")
        self.name = name

    @property
    def detail(self) -> Mapping[str, str]:
        return {"name": self.name}


class BlobUnknown(Unknown):
    """The repository has no such blob."""

    def __init__(self, digest: object) -> None:
        super().__init__(f"blob {digest} is not known to this repository")
        self.digest = digest

    @property
    def detail(self) -> Mapping[str, str]:
        return {"digest": str(self.digest)}


class ManifestUnknown(Unknown):
    """The repository has no such manifest; `reference` is the requested tag or digest."""

    def __init__(self, reference: object, reason: str | None = None) -> None:
        super().__init__(reason or f"manifest {reference} is not known to this repository")
        self.reference = reference

    @property
    def detail(self) -> Mapping[str, str]:
        return {"reference": str(self.reference)}


class ReferencesUnknown(Unknown):
    """A manifest refers to content that its repository lacks: `missing`, in order."""

    def __init__(self, missing: Sequence[object]) -> None:
        super().__init__(f"{len(missing)} referenced blobs or manifests are not in the repository")
        self.missing = missing


class UploadUnknown(Unknown):
    """The repository has no such upload session."""

    def __init__(self, upload: object) -> None:
        super().__init__(f"upload {upload} is not known to this repository")


class UploadConflict(StorageError):
    """The request does not match the session, which has received `length` bytes."""

    def __init__(self, message: str, length: int) -> None:
        super().__init__(message)
        self.length = length


class ChunkOutOfOrder(UploadConflict):
    """A chunk does not start at the end of the session."""

    def __init__(self, start: int, length: int) -> None:
        super().__init__(f"the chunk starts at {start}, the upload holds {length} bytes", length)


class ChunkSizeMismatch(UploadConflict):
    """A chunk's body is longer or shorter than declared; none of it was kept."""

    def __init__(self, declared: int, received: int, length: int) -> None:
        super().__init__(f"the chunk declares {declared} bytes, {received} arrived", length)


class UploadBusy(UploadConflict):
    """Another request is writing to this session."""

    def __init__(self, length: int) -> None:
        super().__init__("another request is writing to this upload", length)


class QuotaExceeded(StorageError):
    """`more` bytes do not fit in `name`, which uses `used` of its limit of `most` bytes."""

    def __init__(self, name: str, most: int, used: int, more: int) -> None:
        allowed, taken, wanted = map(format_size, (most, used, more))
        # `docker push` prints this.
        super().__init__(
            f"repository {name} may hold {allowed} and holds {taken}: another {wanted} do not fit"
        )
        self.name = name
        self.most = most
        self.used = used
        self.more = more


class TooManyUploads(StorageError):
    """`name` already has `most` upload sessions, the limit."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(
            f"repository {name} already has {most} uploads in progress (the limit); "
            "abandoned uploads are removed after the purge age"
        )
        self.name = name
        self.most = most


class TagImmutable(StorageError):
    """`tag` points to another manifest, and the caller may not move tags."""

    def __init__(self, tag: object) -> None:
        super().__init__(f"the tag {tag} exists and may not be moved")
        self.tag = tag


class AlreadyRunning(StorageError):
    """Another process runs `what`, a job that only one process may run at a time."""

    def __init__(self, what: str) -> None:
        super().__init__(f"another {what} is running on this storage")
        self.what = what


class WrongOwner(StorageError, PermissionError):
    """The file or folder `path`, below `root`, does not belong to the process's user id `user`."""

    def __init__(self, path: str, user: int, root: str) -> None:
        super().__init__(
            f"{path} is not writable by the user {user} that runs this process; "
            f"change the owner: chown -R {user} {root}"
        )
        self.path = path


class OperationDisabled(StorageError):
    """The configuration disables this operation: `what` is "deleting" or "writing"."""

    _REASONS: ClassVar[Mapping[str, str]] = {
        "deleting": "deleting is disabled in this registry's configuration",
        # `docker push` prints this.
        "writing": "the registry is read-only, for maintenance or because its volume is: pushing "
        "and deleting are disabled, pulling works",
    }

    def __init__(self, what: str) -> None:
        super().__init__(self._REASONS[what])
        self.what = what


def raise_if_exhausted(error: OSError) -> None:
    """Raise `error` if a call failed for lack of descriptors or memory."""
    if error.errno in EXHAUSTED:
        raise error


def reason_of(error: OSError) -> str:
    """Return the system's message for an error, without its number and path."""
    return error.strerror or str(error)
