"""Scrubbing: find what is damaged, say so, and repair what can be repaired, while serving.

Two stages, in an order that one position can tell how far a scrub came:

1. *Blobs* (`blobs`), by digest: all bytes are read and hashed. Those that are not what they are
   called go to quarantine, so that the registry says it has none and the next push brings them.
2. *Repositories* (`repositories`), by name: every link, what every manifest names, every tag and
   the referrers index. It comes second because what leads to bytes in quarantine leads nowhere.

What is found is a `Finding` (`findings`), a value. Each comes from an entry of the tree that looks
at itself (`links`, `tags`, `referrers`), reading only. Before a finding is reported the entry looks
again under the exclusive tree lock (`second_look`). A repair (`repairs`) has it look once more
under that lock, and does nothing unless it finds the same.
"""
