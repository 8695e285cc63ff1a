"""Configurations that are in use, served by Debian's docker-registry and by this server.

Both get the same requests. Every difference between their responses is in `differences.yaml` with
its reason. The tests fail for a new difference, and for an entry that no longer applies.
`python -m tests.switch` regenerates the file.
"""
