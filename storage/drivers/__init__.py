"""Where bytes lie: one contract, `base`, and the drivers that keep it."""
