"""Garbage collection while serving: what goes, why the rest stays, and how it goes safely.

A collection has four parts. What makes it safe beside pushes is their order, not a clock:

1. *Survey*: every blob with the version of its file (`survey`).
2. *Barrier*: be alone for an instant. Whoever relied on a blob before it was surveyed has written
   his links by now.
3. *Mark*: walk every repository's manifests; what they name is used (`marking`). 1 to 3 make a
   `Plan`, which can be printed.
4. *Sweep*: alone for one small batch after the other, remove what is not used, if its version is
   still the surveyed one (`sweep`): manifests, then links, then bytes.

Everything that gives content a new use (the commit of an upload, a mount, the check of a pushed
manifest, the answer that a blob or manifest is there) changes the version, and where it writes a
link does so beside nobody who is alone. So content that came to be used after the survey is either
marked, because its link was there by the barrier, or has another version. That holds whatever the
clock says. The grace period only spares what nobody has named yet: blobs of a push under way.
"""
