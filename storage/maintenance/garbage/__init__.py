"""Garbage collection while the registry serves.

A collection has four steps. Their order, not a clock, makes it safe beside pushes:

1. *Survey*: list every blob with the version of its file (`survey`).
2. *Barrier*: take the exclusive lock for an instant. Every change that relied on a blob before the
   survey has published its links by then.
3. *Mark*: walk the manifests of every repository; what they name is needed (`marking`). Steps 1 to
   3 make a `Plan`, which can be printed.
4. *Sweep*: in small batches, each under the exclusive lock, delete what is not needed and whose
   version is still the surveyed one (`sweep`): manifests, then links, then blobs.

Every request that gives content a new use (the commit of an upload, a mount, the check of a pushed
manifest, an answer that a blob or manifest exists) touches the file, which changes its version. A
request that writes a link does so under the shared lock. So content that came into use after the
survey is either marked, because its link existed at the barrier, or has another version, whatever
the clock says. The grace period only protects blobs of a push whose manifest is still to come.
"""
