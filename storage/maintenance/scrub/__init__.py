"""Scrubbing: find, report and repair damage while the registry serves.

A scrub has two stages, each in a fixed order, so that one position records its progress:

1. *Blobs* (`blobs`), by digest: all bytes are read and hashed. Corrupt blobs are moved to
   quarantine, so that the registry reports them missing and clients push them again.
2. *Repositories* (`repositories`), by name: every link, the references of every manifest, every
   tag, the referrers index. It comes second because a link to a blob in quarantine dangles.

The result is a list of `Finding` values (`findings`). An entry of the tree (`links`, `tags`,
`referrers`) checks itself by reads only. Before a finding is reported, the entry is checked again
under the exclusive tree lock (`second_look`). A repair (`repairs`) checks it once more under that
lock, and does nothing unless the finding is the same.
"""
