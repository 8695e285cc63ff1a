"""Checks of single entries of the tree, and the second look that confirms a finding."""
