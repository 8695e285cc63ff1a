"""Small files that are watched for changes, and files that are replaced atomically."""
