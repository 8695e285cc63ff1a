"""Quotas: limits on the bytes of a repository, and on the number of its upload sessions.

    wrappers ─► accounts ─► turn_queue ─► locks           one process at a time checks and reserves
                   └──────► admission ─► usage ─► members   the usage on disk

The usage is read from disk: each blob and manifest of the repository, once, and the bytes of its
upload sessions or, if larger, their reservations. It is read again for each group of waiting
requests, so a deletion, a collection and the pushes of other workers count immediately.

A repository never exceeds its quota, however many processes push concurrently, because nothing
grows without a reservation, and only the holder of the quota lock may reserve:

- A request that sends bytes reserves them before it writes: the declared length or, without one, a
  part of the free space at a time. The reservation is a file beside the session's data, and is
  released at the end of the request.
- A mount and a manifest are written while the quota lock is held.
- A commit needs no additional space, because the session counted. Its reservation names the blob,
  and counts while the session's data is missing and the blob is no member, so the bytes count at
  every moment.

A crash leaves a reservation behind. It counts until a request would be refused because of it: then
it is ignored if no process has the session locked.
"""

from storage.repository.quotas.accounts import Limits, LimitsOf
from storage.repository.quotas.wrappers import LimitedRegistry

__all__ = ["LimitedRegistry", "Limits", "LimitsOf"]
