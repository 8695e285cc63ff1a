"""Work on a whole registry, each in two steps: plan what to do, then do it."""
