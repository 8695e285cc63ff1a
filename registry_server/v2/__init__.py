"""The `/v2/` endpoints of the distribution spec; `routes` has the table of them."""
