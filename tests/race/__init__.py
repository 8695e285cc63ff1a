"""The race between pushes and collections, compared with an oracle.

    clients ──HTTP──▶ server(s) ──▶ one root ◀── collectors, back to back
       │
       └──▶ model: what must be pullable at every moment

Each client has its own repositories and shares others. Each tag has one owner, which sends one
request after the other, so the model is exact between its requests; during a request either outcome
is legal. The promises:

- *held*: everything reachable from a tag (children, configs, layers, referrers) exists, byte for
  byte, from the answer that set the tag to the request that removes it.
- *promised*: a client can rely on what it sent, or was told to exist, for most of the grace period:
  no push that is quick enough is told that something is missing.
- *freed*: in the end nothing on the disk is unreachable from a tag.

    python -m tests.race --seconds 300      for longer than a test may take
"""
