"""Access control end to end: every route for every caller, and mistakes of other registries."""
