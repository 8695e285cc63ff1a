"""Side-by-side measurements of this registry and Debian's `docker-registry`.

`python -m benchmarks` starts the two servers in turn on the same machine and prints one table of
ratios. How to read it is in `docs/performance.md`.

```
__main__   the command line, and nothing else
session    rounds: who is started when, interleaved; what becomes of a failure
scenarios  what is measured: the list of everything in the table
requests downloads pushes tiny listings memory    how each of them is measured
wrk headload client checks                        what speaks HTTP
servers proc machine floor                        processes, /proc, facts, the floor of a push
layout material                                   trees written directly on disk, bodies to send
figures table report                              the numbers, pure
```
"""
