"""Configurations that are in use, served by Debian's docker-registry and by this server.

Both get the same requests. Every difference between their answers is in `differences.yaml` with its
reason; the tests fail on a new difference, and on an entry that no longer holds.
`python -m tests.switch` writes the file again.
"""
