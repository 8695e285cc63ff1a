"""Quotas: how much a repository may hold, and how many uploads may be in progress in it.

    wrappers ─► room ─► turn_queue ─► turns           one process at a time looks and takes
                  └───► admission ─► held ─► members   what the disk says is there

What counts is what a repository holds on disk: each blob and manifest that is a member of it, once,
and what its upload sessions hold, or were promised. The disk is looked at anew for the requests
that wait, so what another worker did, a deletion or a collection counts at once.

Never more than its quota is there, however many push at once in however many processes, because
nothing grows without a promise, and promises are given by one at a time:

- A request that brings bytes is promised them before it writes: all that it announces, or else a
  part of the room that is left, again and again. The promise is a note beside the session's data,
  and ends with the request; a session counts as the larger of the two.
- A mount, and a manifest, take place while nobody else is promised anything.
- A commit takes no room: the session counted. Its note names the blob, which counts as long as
  neither the data nor the link is there; so there is no instant at which neither counts.

A crash leaves a note behind. It counts until that would be in somebody's way: then it is tried
whether anybody holds the session.
"""

from storage.quotas.room import Limits, LimitsOf
from storage.quotas.wrappers import LimitedRegistry

__all__ = ["LimitedRegistry", "Limits", "LimitsOf"]
