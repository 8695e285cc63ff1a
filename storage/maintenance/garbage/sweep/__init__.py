"""The last stage of a collection: deleting what is not marked, and leftovers."""
