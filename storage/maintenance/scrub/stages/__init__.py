"""The two stages of a scrub: all blobs, then all repositories."""
