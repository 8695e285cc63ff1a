"""TLS: the context, its files and their renewal."""
