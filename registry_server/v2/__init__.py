"""The `/v2/` endpoints of the distribution spec. `routes` shows them on one screen."""
