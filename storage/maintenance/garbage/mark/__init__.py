"""The second stage of a collection: which manifests are kept, and what they need."""
