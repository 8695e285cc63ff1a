"""Worker processes that accept connections on shared sockets, and their supervisor."""
