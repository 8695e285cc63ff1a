"""Side-by-side measurements of this registry, Debian's `docker-registry`, and floors.

`python -m benchmarks` starts the servers in turn on the same machine and prints tables of ratios;
`python -m benchmarks.compare` sets two of its results side by side; `python -m benchmarks.access`
measures what access control costs. How to read them is in
`docs/performance.md`.

```
 __main__ compare access                  the command lines
 report                                   what is printed and written
 rounds                                   who is started when, interleaved; what a failure becomes
 scenarios growth maintenance             everything that is measured, in the order of the table
 chunks listings memory flat              how each of it is measured
 small_requests downloads pushes tiny
 measures floor seeds wrk headload load   kinds of measures, roots to start from, load generators
 stage table                              a plan, a scenario; a Markdown table
 targets servers                          what must be reached; who is compared
 processes checks machine saved           starting and stopping servers, careful requests, files
 metering client ground interruption      what a span took, a cheap client, same terms, signals
 crowd room                               a registry of many small blobs; the space it takes
 proc layout material                     /proc, trees written directly on disk, large bodies
 figures errors                           the numbers, the failures
```
Imports go down only, or to a neighbour on the same line.
"""
