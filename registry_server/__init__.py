"""The wire: a Docker Registry v2 and OCI 1.1 server over `storage`."""

__version__ = "0.1.0"
