"""Background jobs of the server: purging uploads, and garbage collection."""
