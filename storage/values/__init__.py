"""Values and grammars that every package shares; nothing here does I/O."""
