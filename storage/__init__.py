"""What a registry keeps and how: content, links and uploads over a storage driver. No HTTP here."""
