"""The first stage of a collection: every blob on the disk, and what could not be read."""
