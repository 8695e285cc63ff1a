"""Configurations that are in use, served by Debian's docker-registry and by this server.

Both are asked the same questions. What they answer differently is in `differences.yaml`, with a
reason for each; the tests fail on a difference that is not there, and on one that has gone.
`python -m tests.switch` writes the file again.
"""
