"""The race between pushes and collections: run for real, and held against an oracle.

    clients ──HTTP──▶ server(s) ──▶ one root ◀── collectors, back to back
       │
       └──▶ model: what must be pullable at every moment

Each client has repositories of its own and shares others; each tag has one owner, who does one
thing after the other, so the model is exact between his requests, and while one is under way
either outcome is legal. What is owed:

- *held*: what a tag leads to (children, configs, layers, referrers) is there, byte for byte, from
  the answer that set the tag to the request that takes it away.
- *promised*: what a client was told is there, or sent, can be relied on for most of the grace
  period: a push that is quick enough is never told that something is missing.
- *given back*: in the end nothing lies on the disk that no tag leads to.

    python -m tests.race --seconds 300          for longer than a test may take
"""
