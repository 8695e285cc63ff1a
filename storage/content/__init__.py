"""What the stored bytes mean: blobs, links, manifests, tags, referrers and upload sessions."""
