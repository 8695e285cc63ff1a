"""The driver that stores files below a root directory."""
