"""Tests of the configuration: what is accepted, what is refused, and the messages."""
