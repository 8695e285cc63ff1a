"""Every name that means something on disk, value to path.

    docker/registry/v2
    ├── blobs/<alg>/<first two hex>/<hex>/data          layers, configs, manifests, each once
    └── repositories/<name>
        ├── _layers/<alg>/<hex>/link                    a blob is a member of this repository
        ├── _manifests
        │   ├── deletions/<32 hex>                      ours: a manifest that is being deleted
        │   ├── revisions/<alg>/<hex>/link              a manifest is a member of this repository
        │   └── tags/<tag>
        │       ├── current/link                        what the tag points to now
        │       └── index/<alg>/<hex>/link              everything the tag ever pointed to
        ├── _referrers                                  ours; distribution skips every `_` folder
        │   ├── scanned                                 what the index was last rebuilt from
        │   └── <subject alg>/<subject hex>/<alg>/<hex>
        │       ├── link                                it has that subject
        │       └── descriptor                          what a list of referrers says of it, as JSON
        └── _uploads/<uuid>                             a push in progress
            ├── data                                    the bytes held
            ├── startedat                               RFC 3339, UTC
            ├── reserved                                ours: what it may grow to, under a quota
            └── hashstates/<alg>/<offset>               the hash function's state after that many

Beside it lies what is ours alone, and can be deleted without a loss while nothing serves:

    .trash/<uuid>                                       removed, to be emptied; or to appear
    .registry
    ├── gate, tree                                      locks of who publishes and who is alone
    ├── collection, scrub                               locks of what only one may do at a time
    ├── quota-<32 hex>                                  locks of who makes a limited repository grow
    ├── clock                                           tells the time by which files are stamped
    ├── collected.json                                  what the last collection did, and when
    ├── scrub.json                                      how far the last scrub came
    └── quarantine
        ├── <alg>/<hex>                                 bytes that are not what they were called
        └── docker/registry/v2/…                        what lay in the place of a link

Anywhere in the tree a `.tmp-<32 hex>` is a file or a folder that is being written or removed, or
was when a process died.

Paths are relative to a driver's root, joined by slashes. A `link` holds a digest as text and
nothing else, without a newline. Values went through the grammar before they get here.
"""

from __future__ import annotations

import re
import uuid

from storage.digest import Digest
from storage.names import RepositoryName, Tag, UploadId

ROOT = "docker/registry/v2"
BLOBS = f"{ROOT}/blobs"
REPOSITORIES = f"{ROOT}/repositories"
LINK = "link"
DESCRIPTOR = "descriptor"

# The parts of a repository.
LAYERS, MANIFESTS, REFERRERS, UPLOADS = "_layers", "_manifests", "_referrers", "_uploads"
DELETIONS = "deletions"
# The parts of a tag.
CURRENT, HISTORY = "current", "index"

TRASH = ".trash"
OURS = ".registry"
ACCESS = "access"  # keys, which are nowhere else; so it is not hidden
COLLECTION, SCRUB = "collection", "scrub"  # what is claimed
GATE = f"{OURS}/gate"
TREE = f"{OURS}/tree"
CLOCK = f"{OURS}/clock"
COLLECTED = f"{OURS}/collected.json"
SCRUBBED = f"{OURS}/scrub.json"
QUARANTINE = f"{OURS}/quarantine"

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{32}", re.ASCII)


def temporary() -> str:
    """Name a file that is to be written, and then renamed, in the folder it is for."""
    return f".tmp-{uuid.uuid4().hex}"


def is_temporary(name: str) -> bool:
    """Tell whether a file's name is one of these."""
    return _TEMPORARY.fullmatch(name) is not None


def claim(what: str) -> str:
    """Return the lock that whoever does `what`, a word, holds alone."""
    return f"{OURS}/{what}"


def quarantined(digest: Digest) -> str:
    """Return where bytes are put that lay under `digest` and are not what it names."""
    return f"{QUARANTINE}/{digest.algorithm}/{digest.hex}"


def set_aside(path: str) -> str:
    """Return where a folder is put that lay in the place of the link at `path`."""
    return f"{QUARANTINE}/{path}"


def blob(digest: Digest) -> str:
    """Return where the bytes of `digest` lie."""
    return f"{BLOBS}/{blob_below(digest)}"


def blob_below(digest: Digest) -> str:
    """Return the same, relative to BLOBS."""
    return f"{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/data"


def repository(name: RepositoryName) -> str:
    """Return the folder of a repository."""
    return f"{REPOSITORIES}/{name.text}"


def layers(name: RepositoryName) -> str:
    """Return the folder whose links make blobs members of a repository."""
    return f"{repository(name)}/{LAYERS}"


def layer_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a blob a member of a repository."""
    return f"{layers(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def manifests(name: RepositoryName) -> str:
    """Return the folder that a repository has once a manifest was pushed to it."""
    return f"{repository(name)}/{MANIFESTS}"


def revisions(name: RepositoryName) -> str:
    """Return the folder whose links make manifests members of a repository."""
    return f"{manifests(name)}/revisions"


def revision_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a manifest a member of a repository."""
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def deletions(name: RepositoryName) -> str:
    """Return the folder with a note for each manifest of many tags that is being deleted."""
    return f"{manifests(name)}/{DELETIONS}"


def tags(name: RepositoryName) -> str:
    """Return the folder with one folder for each tag."""
    return f"{manifests(name)}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    """Return the folder of one tag."""
    return f"{tags(name)}/{tag.text}"


def tag_current_link(name: RepositoryName, tag: Tag) -> str:
    """Return the link that says what a tag points to."""
    return f"{tags(name)}/{tag.text}/{CURRENT}/{LINK}"


def tag_history(name: RepositoryName, tag: Tag) -> str:
    """Return the folder with a link for all that a tag ever pointed to."""
    return f"{tags(name)}/{tag.text}/{HISTORY}"


def tag_index_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    """Return the link that remembers that a tag pointed to a digest."""
    return f"{tag_history(name, tag)}/{digest.algorithm}/{digest.hex}/{LINK}"


def referrers_of_all(name: RepositoryName) -> str:
    """Return the folder with one folder for each subject."""
    return f"{repository(name)}/{REFERRERS}"


def referrers_scanned(name: RepositoryName) -> str:
    """Return the note that tells what the referrers index was last rebuilt from."""
    return f"{referrers_of_all(name)}/scanned"


def referrers(name: RepositoryName, subject: Digest) -> str:
    """Return the folder with a link for each referrer of `subject`."""
    return f"{referrers_of_all(name)}/{subject.algorithm}/{subject.hex}"


def referrer_link(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """Return the link that makes `referrer` a referrer of `subject`."""
    return f"{referrers(name, subject)}/{referrer.algorithm}/{referrer.hex}/{LINK}"


def referrer_descriptor(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """Return the note that describes a referrer, so that a list need not read the manifest."""
    return f"{referrers(name, subject)}/{referrer.algorithm}/{referrer.hex}/{DESCRIPTOR}"


def uploads(name: RepositoryName) -> str:
    """Return the folder with one folder for each upload session."""
    return f"{repository(name)}/{UPLOADS}"


def upload(name: RepositoryName, upload: UploadId) -> str:
    """Return the folder of an upload session."""
    return f"{uploads(name)}/{upload.text}"


def upload_data(name: RepositoryName, id: UploadId) -> str:
    """Return where the bytes of an unfinished upload wait."""
    return f"{upload(name, id)}/data"


def upload_started(name: RepositoryName, id: UploadId) -> str:
    """Return the note that says when a session began."""
    return f"{upload(name, id)}/startedat"


def upload_reserved(name: RepositoryName, id: UploadId) -> str:
    """Return the note that says how much a session may hold, where that is limited."""
    return f"{upload(name, id)}/reserved"


def upload_states(name: RepositoryName, id: UploadId) -> str:
    """Return the folder with a folder of exported hash states for each algorithm."""
    return f"{upload(name, id)}/hashstates"


def upload_state(name: RepositoryName, id: UploadId, algorithm: str, offset: int) -> str:
    """Return where the hash state after `offset` bytes is written down."""
    return f"{upload_states(name, id)}/{algorithm}/{offset}"
