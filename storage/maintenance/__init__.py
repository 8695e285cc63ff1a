"""Maintenance of a whole registry, in two steps each: make a plan, then carry it out."""
