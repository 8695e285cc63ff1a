"""Disk usage: what each repository needs, what can be freed, and why the rest is kept.

Every file below the root is counted once. Blobs are divided by why a collection would keep them,
all other files by category (`categories`). Nothing is written and no lock is taken, so the result
is a snapshot: pushes meanwhile may be missing.
"""
