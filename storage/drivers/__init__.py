"""Storage drivers: the contract is in `base`, the changes they publish in `changes`."""
