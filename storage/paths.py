"""Every name that means something on disk, value to path.

    docker/registry/v2
    ├── blobs/<alg>/<first two hex>/<hex>/data          layers, configs, manifests, each once
    └── repositories/<name>
        ├── _layers/<alg>/<hex>/link                    a blob is a member of this repository
        ├── _manifests
        │   ├── revisions/<alg>/<hex>/link              a manifest is a member of this repository
        │   └── tags/<tag>
        │       ├── current/link                        what the tag points to now
        │       └── index/<alg>/<hex>/link              everything the tag ever pointed to
        ├── _referrers                                  ours; distribution skips every `_` folder
        │   ├── scanned                                 what the index was last rebuilt from
        │   └── <subject alg>/<subject hex>/<alg>/<hex>/link
        └── _uploads/<uuid>                             a push in progress
            ├── data                                    the bytes held
            ├── startedat                               RFC 3339, UTC
            └── hashstates/<alg>/<offset>               the hash function's state after that many

Paths are relative to a driver's root, joined by slashes. A `link` holds a digest as text and
nothing else, without a newline. Values went through the grammar before they get here.
"""

from __future__ import annotations

from storage.digest import Digest
from storage.names import RepositoryName, Tag, UploadId

ROOT = "docker/registry/v2"
# Beside it, ours alone, and to be deleted without a loss while nothing serves: where folders are
# emptied that were removed, and put together that are to appear; locks, and what is remembered.
TRASH = ".trash"
OURS = ".registry"
CLOCK = f"{OURS}/clock"
COLLECTED = f"{OURS}/collected.json"
BLOBS = f"{ROOT}/blobs"
REPOSITORIES = f"{ROOT}/repositories"
LINK = "link"


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
    return f"{repository(name)}/_layers"


def layer_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a blob a member of a repository."""
    return f"{layers(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def manifests(name: RepositoryName) -> str:
    """Return the folder that a repository has once a manifest was pushed to it."""
    return f"{repository(name)}/_manifests"


def revisions(name: RepositoryName) -> str:
    """Return the folder whose links make manifests members of a repository."""
    return f"{manifests(name)}/revisions"


def revision_link(name: RepositoryName, digest: Digest) -> str:
    """Return the link that makes a manifest a member of a repository."""
    return f"{revisions(name)}/{digest.algorithm}/{digest.hex}/{LINK}"


def tags(name: RepositoryName) -> str:
    """Return the folder with one folder for each tag."""
    return f"{manifests(name)}/tags"


def tag(name: RepositoryName, tag: Tag) -> str:
    """Return the folder of one tag."""
    return f"{tags(name)}/{tag.text}"


def tag_current_link(name: RepositoryName, tag: Tag) -> str:
    """Return the link that says what a tag points to."""
    return f"{tags(name)}/{tag.text}/current/{LINK}"


def tag_index_link(name: RepositoryName, tag: Tag, digest: Digest) -> str:
    """Return the link that remembers that a tag pointed to a digest."""
    return f"{tags(name)}/{tag.text}/index/{digest.algorithm}/{digest.hex}/{LINK}"


def referrers_of_all(name: RepositoryName) -> str:
    """Return the folder with one folder for each subject."""
    return f"{repository(name)}/_referrers"


def referrers_scanned(name: RepositoryName) -> str:
    """Return the note that tells what the referrers index was last rebuilt from."""
    return f"{referrers_of_all(name)}/scanned"


def referrers(name: RepositoryName, subject: Digest) -> str:
    """Return the folder with a link for each referrer of `subject`."""
    return f"{referrers_of_all(name)}/{subject.algorithm}/{subject.hex}"


def referrer_link(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """Return the link that makes `referrer` a referrer of `subject`."""
    return f"{referrers(name, subject)}/{referrer.algorithm}/{referrer.hex}/{LINK}"


def uploads(name: RepositoryName) -> str:
    """Return the folder with one folder for each upload session."""
    return f"{repository(name)}/_uploads"


def upload(name: RepositoryName, upload: UploadId) -> str:
    """Return the folder of an upload session."""
    return f"{uploads(name)}/{upload.text}"


def upload_data(name: RepositoryName, id: UploadId) -> str:
    """Return where the bytes of an unfinished upload wait."""
    return f"{upload(name, id)}/data"


def upload_started(name: RepositoryName, id: UploadId) -> str:
    """Return the note that says when a session began."""
    return f"{upload(name, id)}/startedat"


def upload_states(name: RepositoryName, id: UploadId) -> str:
    """Return the folder with a folder of exported hash states for each algorithm."""
    return f"{upload(name, id)}/hashstates"


def upload_state(name: RepositoryName, id: UploadId, algorithm: str, offset: int) -> str:
    """Return where the hash state after `offset` bytes is written down."""
    return f"{upload_states(name, id)}/{algorithm}/{offset}"
