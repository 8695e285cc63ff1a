"""What storage/ promises, floor by floor."""
