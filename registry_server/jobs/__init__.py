"""What the registry does without a request: purging uploads, and collections of garbage."""
