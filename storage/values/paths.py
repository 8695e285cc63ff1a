"""The layout of the storage: maps values to paths.

    docker/registry/v2
    ├── blobs/<alg>/<first two hex>/<hex>/data          layers, configs, manifests, each once
    └── repositories/<name>
        ├── _layers/<alg>/<hex>/link                    a blob is a member of this repository
        ├── _manifests
        │   ├── deletions/<32 hex>                      ours: a manifest that is being deleted
        │   ├── revisions/<alg>/<hex>/link              a manifest is a member of this repository
        │   └── tags/<tag>
        │       ├── current/link                        the manifest that the tag points to
        │       └── index/<alg>/<hex>/link              every manifest the tag ever pointed to
        ├── _referrers                                  ours; distribution skips every `_` folder
        │   ├── scanned                                 from what the index was last rebuilt
        │   └── <subject alg>/<subject hex>/<alg>/<hex>
        │       ├── link                                a manifest that has this subject
        │       └── descriptor                          its entry in a list of referrers, as JSON
        └── _uploads/<uuid>                             an upload session
            ├── data                                    the bytes received so far
            ├── startedat                               RFC 3339, UTC
            ├── reserved                                ours: the session's quota reservation
            └── hashstates/<alg>/<offset>               the state of the hash function at an offset

Beside it are our own files. They can be deleted without loss while no process serves:

    .trash/<uuid>                                       deleted folders, and folders being prepared
    .registry
    ├── gate, tree                                      the shared and exclusive tree lock
    ├── collection, scrub                               locks of jobs that run one at a time
    ├── quota-<32 hex>                                  quota locks
    ├── clock                                           a file whose mtime is the storage's time
    ├── collected.json                                  the result and time of the last collection
    ├── scrub.json                                      the position of the last scrub
    └── quarantine
        ├── <alg>/<hex>                                 content that did not match its digest
        └── docker/registry/v2/…                        folders found in place of a link

Anywhere in the tree, `.tmp-<32 hex>` is a file or folder that is being written or removed, or that
a crash left behind.

Paths are relative to a driver's root, joined by slashes. A `link` holds a digest as text without a
newline. The values passed in have been parsed, so paths stay inside the root.
"""

from __future__ import annotations

import re
import uuid

from storage.values.digest import Digest
from storage.values.names import RepositoryName, Tag, UploadId

ROOT = "docker/registry/v2"
BLOBS = f"{ROOT}/blobs"
REPOSITORIES = f"{ROOT}/repositories"
LINK = "link"
DESCRIPTOR = "descriptor"

# The parts of a repository.
LAYERS, MANIFESTS, REFERRERS, UPLOADS = "_layers", "_manifests", "_referrers", "_uploads"
DELETIONS = "deletions"
# How many levels of folders below a part contain folders of members: `_layers/<alg>`,
# `_manifests/revisions/<alg>` and `_manifests/tags/<tag>`.
MEMBER_LEVELS = {LAYERS: 1, MANIFESTS: 2}
# The deepest folders of a part: `_referrers/<alg>/<hex>/<alg>/<hex>` and
# `_manifests/tags/<tag>/index/<alg>/<hex>`.
MAX_LEVELS = 5
# The parts of a tag.
CURRENT, HISTORY = "current", "index"

TRASH = ".trash"
OURS = ".registry"
ACCESS = "access"  # the keys have no other copy, so the folder is not hidden
COLLECTION, SCRUB = "collection", "scrub"  # the names of claims
GATE = f"{OURS}/gate"
TREE = f"{OURS}/tree"
CLOCK = f"{OURS}/clock"
COLLECTED = f"{OURS}/collected.json"
SCRUBBED = f"{OURS}/scrub.json"
QUARANTINE = f"{OURS}/quarantine"

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}", re.ASCII)


def temporary() -> str:
    """Return a new name for a temporary file, which is renamed within its folder once written."""
    return f".tmp-{uuid.uuid4().hex}"


def is_temporary(name: str) -> bool:
    """Return whether `name` is that of a temporary file or folder."""
    return _TEMPORARY.fullmatch(name) is not None


def claim(what: str) -> str:
    """Return the lock file of the job `what`, a word, which only one process runs at a time."""
    return f"{OURS}/{what}"


def quarantined(digest: Digest) -> str:
    """Return the quarantine path for content that was stored as `digest` but does not match it."""
    return f"{QUARANTINE}/{digest.algorithm}/{digest.hex}"


def set_aside(path: str) -> str:
    """Return the quarantine path for a folder found in place of the link at `path`."""
    return f"{QUARANTINE}/{path}"


def blobs_of(algorithm: str) -> str:
    """Return the folder of all blobs of an algorithm."""
    return f"{BLOBS}/{algorithm}"


def blob_folder(algorithm: str, short: str) -> str:
    """Return the folder of the blobs whose hex digits begin with `short`, two of them."""
    return f"{blobs_of(algorithm)}/{short}"


def blob(digest: Digest) -> str:
    """Return the file with the content of `digest`."""
    return f"{BLOBS}/{blob_below(digest)}"


def blob_below(digest: Digest) -> str:
    """Return the file with the content of `digest`, relative to BLOBS."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def repository(name: RepositoryName) -> str:
    """Return the folder of a repository."""
    return f"{REPOSITORIES}/{name.text}"


def is_part(name: str) -> bool:
    """Return whether a folder is a part of a repository, not a repository below it."""
    return name.startswith("_")


def layers(name: RepositoryName) -> str:
    """Return the folder whose links make blobs members of a repository."""
    return f"{repository(name)}/{LAYERS}"


def layer_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a blob a member of a repository."""
    return f"{layers(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def foreign_layer_link(name: RepositoryName, algorithm: str, hex: str) -> str:
    """Return the link of a blob by a digest of an algorithm that this registry does not know."""
    return f"{layers(name)}/{algorithm}/{hex}/{LINK}"


def manifests(name: RepositoryName) -> str:
    """Return the folder of manifests, which exists once a manifest has been pushed."""
    return f"{repository(name)}/{MANIFESTS}"


def revisions(name: RepositoryName) -> str:
    """Return the folder whose links make manifests members of a repository."""
    return f"{manifests(name)}/revisions"


def revision_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a manifest a member of a repository."""
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def deletions(name: RepositoryName) -> str:
    """Return the folder with a note for each running deletion of a manifest with many tags."""
    return f"{manifests(name)}/{DELETIONS}"


def tags(name: RepositoryName) -> str:
    """Return the folder with one folder for each tag."""
    return f"{manifests(name)}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    """Return the folder of one tag."""
    return f"{tags(name)}/{tag.text}"


def tag_current_link(name: RepositoryName, tag: Tag) -> str:
    """Return the link to the manifest that a tag points to."""
    return f"{tags(name)}/{tag.text}/{CURRENT}/{LINK}"


def tag_history(name: RepositoryName, tag: Tag) -> str:
    """Return the folder with a link to every manifest that a tag ever pointed to."""
    return f"{tags(name)}/{tag.text}/{HISTORY}"


def tag_index_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    """Return the link that records that a tag has pointed to a digest."""
    return f"{tag_history(name, tag)}/{digest.algorithm}/{digest.hex}/{LINK}"


def referrers_of_all(name: RepositoryName) -> str:
    """Return the folder with one folder for each subject."""
    return f"{repository(name)}/{REFERRERS}"


def referrers_scanned(name: RepositoryName) -> str:
    """Return the file that records from what the index of referrers was last rebuilt."""
    return f"{referrers_of_all(name)}/scanned"


def referrers(name: RepositoryName, subject: Digest) -> str:
    """Return the folder with a link for each referrer of `subject`."""
    return f"{referrers_of_all(name)}/{subject.algorithm}/{subject.hex}"


def referrer_link(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """Return the link that makes `referrer` a referrer of `subject`."""
    return f"{referrers(name, subject)}/{referrer.algorithm}/{referrer.hex}/{LINK}"


def referrer_descriptor(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """Return the file with a referrer's descriptor, so that a list need not read the manifest."""
    return f"{referrers(name, subject)}/{referrer.algorithm}/{referrer.hex}/{DESCRIPTOR}"


def uploads(name: RepositoryName) -> str:
    """Return the folder with one folder for each upload session."""
    return f"{repository(name)}/{UPLOADS}"


def upload(name: RepositoryName, upload: UploadId) -> str:
    """Return the folder of an upload session."""
    return f"{uploads(name)}/{upload.text}"


def upload_data(name: RepositoryName, id: UploadId) -> str:
    """Return the file with the bytes of an unfinished upload."""
    return f"{upload(name, id)}/data"


def upload_started(name: RepositoryName, id: UploadId) -> str:
    """Return the file with the start time of a session."""
    return f"{upload(name, id)}/startedat"


def upload_reserved(name: RepositoryName, id: UploadId) -> str:
    """Return the file with the quota reservation of a session."""
    return f"{upload(name, id)}/reserved"


def upload_states(name: RepositoryName, id: UploadId) -> str:
    """Return the folder with a folder of exported hash states for each algorithm."""
    return f"{upload(name, id)}/hashstates"


def upload_state(name: RepositoryName, id: UploadId, algorithm: str, offset: int) -> str:
    """Return the file with the hash state after `offset` bytes."""
    return f"{upload_states(name, id)}/{algorithm}/{offset}"
