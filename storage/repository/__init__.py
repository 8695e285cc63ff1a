"""The registry and its repositories: membership, the order of writes, and the wrappers."""
