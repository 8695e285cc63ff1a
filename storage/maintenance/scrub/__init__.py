"""Scrubbing: find, report and repair damage while the registry serves.

    run                  the whole scrub: both stages, in order
    ├─ record            its progress and findings; the checkpoint is for the next scrub
    ├─ stages/           1. blob_stage         2. repository_stage, page by page
    ├─ checks/           one entry of the tree: its link, tag, referrer or manifest; second_look
    ├─ reading/          what the checks read: blob_contents, manifest_facts, folder_listing
    ├─ repairs           mends a finding
    └─ findings          what is reported

A scrub has two stages, each in a fixed order, so that one position records its progress:

1. *Blobs*, by digest: all bytes are read and hashed. Corrupt blobs are moved to quarantine, so that
   the registry reports them missing and clients push them again.
2. *Repositories*, by name: every link, the references of every manifest, every tag, the referrers
   index. It comes second because a link to a blob in quarantine dangles.

A check only reads. Before a finding is reported, the entry is checked again under the exclusive
tree lock. A repair checks it once more under that lock, and does nothing unless the finding is the
same.
"""
