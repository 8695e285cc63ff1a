"""Access control end to end: every route for every caller, and what went wrong elsewhere."""
