"""Bearer tokens: the token server, keys, scopes and verification."""
