"""What the checks read: bytes of blobs, facts of manifests, folders."""
