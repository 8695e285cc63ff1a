"""Garbage collection while the registry serves.

`collection` runs a whole collection: it makes a plan (`plan`) and carries it out. The plan and its
stages share a database (`collection_database`); the last column has the tables of each stage.

    plan ─┬─ 1. survey/   blob_survey             every blob, with the version   surveyed_blobs
          │               hidden_repositories,    of its file; what could not
          │               coverage                be read
          ├─ 2. barrier                           every earlier push has published
          └─ 3. mark/     marking, dependencies,  what manifests need: kept      manifest_graph,
                          repository_links                                       marks
                          components,             the rest: what may be deleted  candidates
                          removal_order
    report                                        prints the plan and the result
    4. sweep/             content_sweep,          deletes the candidates
                          component_removal
                          leftovers               and what crashes left          leftover_queue

The order of these steps, not a clock, makes a collection safe beside pushes:

1. *Survey*: list every blob with the version of its file.
2. *Barrier*: take the exclusive lock for an instant. Every change that relied on a blob before the
   survey has published its links by then.
3. *Mark*: walk the manifests of every repository; what they name is needed. Steps 1 to 3 make a
   `Plan`, which can be printed.
4. *Sweep*: in small batches, each under the exclusive lock, delete what is not needed and whose
   version is still the surveyed one: manifests, then links, then blobs.

Every request that gives content a new use (the commit of an upload, a mount, the check of a pushed
manifest, an answer that a blob or manifest exists) touches the file, which changes its version. A
request that writes a link does so under the shared lock. So content that came into use after the
survey is either marked, because its link existed at the barrier, or has another version, whatever
the clock says. The grace period only protects blobs of a push whose manifest is still to come.
"""
