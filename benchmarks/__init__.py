"""Side-by-side measurements of this registry and Debian's `docker-registry`.

`python -m benchmarks` starts the two servers in turn on the same machine and prints one table of
ratios. How to read it is in `docs/performance.md`.

```
 __main__                                 the command line
 rounds                                   who is started when, interleaved; what a failure becomes
 scenarios                                everything that is measured, in the order of the table
 small_requests downloads pushes tiny     how each of it is measured
 listings memory floor
 wrk headload load client checks          HTTP: load generators, a cheap client, a careful one
 servers interruption proc machine        processes, signals, /proc, facts about the machine
 layout seeds material                    trees written directly on disk, large bodies
 stage figures table report errors        values: a plan, a measure, a line; the table; failures
```
Imports go down only.
"""
