"""Side-by-side measurements of this registry, Debian's `docker-registry`, and floors.

`python -m benchmarks` runs the servers alternately on the same machine and prints tables of ratios;
`python -m benchmarks.compare` compares two result files; `python -m benchmarks.access` measures the
cost of access control. `docs/performance.md` explains how to read the results.

```
 __main__ compare access                  the command lines
 report                                   the printed tables and the JSON document
 rounds                                   runs the servers alternately; records failures
 scenarios growth maintenance             all measurements, in the order of the table
 chunks listings memory flat              how each is measured
 small_requests downloads pushes tiny
 measures floor seeds wrk headload load   kinds of measures, prepared roots, load generators
 stage table                              plans and scenarios; Markdown tables
 targets servers                          targets; the compared servers
 processes checks machine saved           starting servers, checked requests, the machine, files
 metering client ground interruption      CPU meters, a cheap client, clean disk state, signals
 crowd room                               a registry of many small blobs; the space it needs
 proc layout material                     /proc, trees written directly to disk, large bodies
 figures errors                           the numbers, the failures
```
Modules import only from lower lines or the same line.
"""
