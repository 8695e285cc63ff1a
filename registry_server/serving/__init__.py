"""The process: listeners, TLS, HTTP/1.1 and the workers."""
