"""Several processes that serve on one socket, and the one that keeps them going."""
